//! Sign-in: a name and a password for a cookie, and who is behind a cookie or a token.

use super::{
    grants::Rights,
    names::UserName,
    passwords::{Crowded, Password, Passwords},
    users::{self, PeopleError},
};
use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    rate_limit::RateLimit,
    secrets::{CryptoError, Secret, random_secret, sha256},
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde_json::json;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Wrong passwords from one address at once, and how long until the next one: nobody mistypes for longer, and a guesser gets nowhere.
const WRONG_PER_ADDRESS: u32 = 10;
/// See [`WRONG_PER_ADDRESS`].
const WRONG_PER_ADDRESS_REFILL: Duration = Duration::from_secs(20);
/// The same for one name from all addresses that it has not signed in from lately: those of its owner are not held up by strangers.
const WRONG_PER_NAME: u32 = 20;
/// See [`WRONG_PER_NAME`].
const WRONG_PER_NAME_REFILL: Duration = Duration::from_secs(60);

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many wrong passwords: try again in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    #[error(transparent)]
    Crowded(#[from] Crowded),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    #[error(transparent)]
    People(#[from] PeopleError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Someone who has just signed in.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) user: UserName,
    /// What the browser keeps.
    pub(crate) cookie: Secret<String>,
    /// Seconds since 1970.
    pub(crate) ends_at: i64,
}

/// How someone is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Pass {
    /// By the hash of a session's cookie.
    Session([u8; 32]),
    /// By the hash of an API token.
    Token([u8; 32]),
}

/// Someone who is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) user: UserName,
    pub(crate) rights: Rights,
    pub(crate) pass: Pass,
    /// When it ends, seconds since 1970.
    pub(crate) ends_at: i64,
}

/// Signs in and out, and knows who has.
#[derive(Debug)]
pub(crate) struct Sessions {
    store: Store,
    clock: Clock,
    passwords: Passwords,
    refusals: Arc<Refusals>,
    session_sec: u32,
    by_address: RateLimit<IpAddr>,
    by_name: RateLimit<UserName>,
    /// As it was last read.
    has_users: AtomicBool,
}

impl Sessions {
    pub(crate) fn new(store: Store, clock: Clock, passwords: Passwords, refusals: Arc<Refusals>, session_sec: u32) -> Self {
        Self {
            store,
            clock,
            passwords,
            refusals,
            session_sec,
            by_address: RateLimit::new(WRONG_PER_ADDRESS, WRONG_PER_ADDRESS_REFILL),
            by_name: RateLimit::new(WRONG_PER_NAME, WRONG_PER_NAME_REFILL),
            has_users: AtomicBool::new(false),
        }
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Whether there is anyone who signs in. While the database can't say, it is as it was: who watches goes on.
    pub(crate) async fn has_users(&self) -> bool {
        match self.store.has_users().await {
            Ok(has_users) => {
                self.has_users.store(has_users, Ordering::Relaxed);
                has_users
            }
            Err(_) => self.has_users.load(Ordering::Relaxed),
        }
    }

    /// How long a session lasts.
    pub(crate) fn session_sec(&self) -> u32 {
        self.session_sec
    }

    /// Who is behind a cookie.
    pub(crate) async fn of_cookie(&self, cookie: &str) -> Result<Option<Known>, StoreError> {
        self.of_pass(Pass::Session(sha256(cookie))).await
    }

    /// Who is behind a token.
    pub(crate) async fn of_token(&self, token: &str) -> Result<Option<Known>, StoreError> {
        self.of_pass(Pass::Token(sha256(token))).await
    }

    /// Who is behind a pass now, and with which rights.
    pub(crate) async fn of_pass(&self, pass: Pass) -> Result<Option<Known>, StoreError> {
        let (user, ends_at, limit) = match &pass {
            Pass::Session(sha256) => match self.store.session(sha256).await? {
                Some(session) => (session.user, session.ends_at, None),
                None => return Ok(None),
            },
            Pass::Token(sha256) => match self.store.api_token(sha256).await? {
                Some(token) => (token.user, token.ends_at, Some(token.limit)),
                None => return Ok(None),
            },
        };
        let rights = Rights::new(self.store.grants(&user).await?);
        let rights = limit.map_or_else(|| rights.clone(), |limit| rights.within(&limit));
        Ok(Some(Known { user, rights, pass, ends_at }))
    }

    /// A new session, each time. One that the browser has already ends.
    pub(crate) async fn sign_in(&self, from: IpAddr, name: &str, password: Password, old: Option<&str>) -> Result<SignedIn, SignInError> {
        let outcome = match self.check(from, name, password).await {
            Ok(user) => self.begin(user, from, old).await,
            Err(error) => Err(error),
        };
        metrics::counter!("sightline_sign_ins_total", "outcome" => outcome_name(&outcome)).increment(1);
        outcome
    }

    /// Whose name and password it is. A wrong one costs whoever asks: its address, and strangers who try the same name.
    async fn check(&self, from: IpAddr, name: &str, password: Password) -> Result<UserName, SignInError> {
        let (address, now) = (place(from), self.clock.now());
        self.by_address.take(address, now).map_err(SignInError::TooOften)?;
        let name = UserName::new(name).ok();
        let mut counted = None;
        if let Some(name) = &name
            && !self.store.has_signed_in_from(name, &address.to_string()).await?
        {
            self.by_name.take(name.clone(), now).map_err(SignInError::TooOften)?;
            counted = Some(name);
        }
        let user = match &name {
            Some(name) => self.store.user(name).await?,
            None => None,
        };
        let is_known = user.is_some();
        let kept = user.and_then(|user| user.password);
        if let (true, Some(name)) = (self.passwords.is_it(password, kept).await?, &name) {
            self.by_address.give_back(&address);
            if let Some(counted) = counted {
                self.by_name.give_back(counted);
            }
            return Ok(name.clone());
        }
        // What is nobody's name may be a password in the wrong field.
        let subject = name.as_ref().filter(|_| is_known).map_or("unknown", UserName::as_str);
        let reason = if is_known { "wrong password" } else { "unknown name" };
        self.refusals.record(&Actor::Stranger(from), Action::SessionRefuse, subject, reason, json!({ "user": subject })).await;
        Err(SignInError::Wrong)
    }

    async fn begin(&self, user: UserName, from: IpAddr, old: Option<&str>) -> Result<SignedIn, SignInError> {
        let cookie = random_secret()?;
        let ends_at = self.clock.unix_secs() + i64::from(self.session_sec);
        let actor = Actor::User(user.clone(), from);
        let mut write = self.store.write(&actor).await?;
        if let Some(old) = old {
            write.end_session(&sha256(old)).await?;
        }
        // Removed while its password was being compared.
        if !write.has_user(&user).await? {
            return Err(SignInError::Wrong);
        }
        write.add_session(&sha256(cookie.reveal()), &user, &place(from).to_string(), ends_at).await?;
        write.commit(Action::SessionAdd, user.as_str(), json!({ "ends_at": ends_at, "from": actor.from() })).await?;
        Ok(SignedIn { user, cookie, ends_at })
    }

    /// Ends a session.
    pub(crate) async fn sign_out(&self, actor: &Actor, user: &UserName, sha256: &[u8]) -> Result<(), StoreError> {
        let mut write = self.store.write(actor).await?;
        write.end_session(sha256).await?;
        write.commit(Action::SessionRemove, user.as_str(), json!({ "from": actor.from() })).await
    }

    /// Someone changes their own password, and shows that they know it. All other sessions of theirs end.
    pub(crate) async fn change_password(
        &self,
        from: IpAddr,
        user: &UserName,
        session: &[u8],
        (old, new): (Password, Password),
    ) -> Result<(), SignInError> {
        new.check().map_err(PeopleError::from)?;
        self.check(from, user.as_str(), old).await?;
        let hash = self.passwords.hash(new).await??;
        Ok(users::set_password(&self.store, &Actor::User(user.clone(), from), user, &hash, session).await?)
    }
}

fn outcome_name(outcome: &Result<SignedIn, SignInError>) -> &'static str {
    match outcome {
        Ok(_) => "taken",
        Err(SignInError::Wrong) => "wrong",
        Err(SignInError::TooOften(_)) => "too_often",
        Err(SignInError::Crowded(_) | SignInError::Crypto(_) | SignInError::People(_) | SignInError::Store(_)) => "failed",
    }
}

/// What counts as one address: of IPv6 the network of a household, which has as many addresses as it likes.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data_dir::DataDir, people::grants::Grant, people::names::Role};
    use tokio_util::task::TaskTracker;

    struct Bench {
        _home: tempfile::TempDir,
        store: Store,
        clock: Clock,
        sessions: Sessions,
    }

    async fn bench() -> Bench {
        let home = tempfile::tempdir().unwrap();
        let clock = Clock::default();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), clock.clone()).await.unwrap();
        let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
        let hash = users::hash_new(&Password::new("ann's password".into())).unwrap();
        let grants = [Grant { role: Role::Viewer, group: Default::default() }];
        users::add(&store, &Actor::Cli, &UserName::new("ann").unwrap(), Some(&hash), &grants).await.unwrap();
        let sessions = Sessions::new(store.clone(), clock.clone(), Passwords::new(TaskTracker::new()), refusals, 3600);
        Bench { _home: home, store, clock, sessions }
    }

    impl Bench {
        async fn sign_in(&self, from: &str, name: &str, password: &str) -> Result<SignedIn, SignInError> {
            self.sessions.sign_in(from.parse().unwrap(), name, Password::new(password.into()), None).await
        }
    }

    #[tokio::test]
    async fn a_session_is_another_one_each_time_lasts_over_a_restart_and_ends_in_time() {
        let bench = bench().await;
        let first = bench.sign_in("192.0.2.1", "Ann", "ann's password").await.unwrap();
        let second = bench.sign_in("192.0.2.1", "ann", "ann's password").await.unwrap();
        assert_ne!(first.cookie.reveal(), second.cookie.reveal());
        let refusals = Arc::new(Refusals::new(bench.store.clone(), bench.clock.clone()));
        let restarted = Sessions::new(bench.store.clone(), bench.clock.clone(), Passwords::new(TaskTracker::new()), refusals, 3600);
        let known = restarted.of_cookie(first.cookie.reveal()).await.unwrap().unwrap();
        assert_eq!((known.user.as_str(), known.ends_at), ("ann", first.ends_at));
        let third = bench.sessions.sign_in(
            "192.0.2.1".parse().unwrap(),
            "ann",
            Password::new("ann's password".into()),
            Some(first.cookie.reveal()),
        );
        third.await.unwrap();
        assert!(restarted.of_cookie(first.cookie.reveal()).await.unwrap().is_none(), "the browser's own one is over");
        bench.clock.advance(Duration::from_secs(3601));
        assert!(restarted.of_cookie(second.cookie.reveal()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn wrong_passwords_cost_who_asks_and_not_the_one_whose_name_it_is() {
        let bench = bench().await;
        bench.sign_in("192.0.2.1", "ann", "ann's password").await.unwrap();
        for _ in 0..WRONG_PER_ADDRESS {
            assert!(matches!(bench.sign_in("198.51.100.1", "ann", "guess").await, Err(SignInError::Wrong)));
        }
        assert!(matches!(bench.sign_in("198.51.100.1", "ann", "ann's password").await, Err(SignInError::TooOften(_))));
        // Of another network there are ten more for this name, wherever they come from.
        for _ in 0..WRONG_PER_NAME - WRONG_PER_ADDRESS {
            assert!(matches!(bench.sign_in("2001:db8::1", "ann", "guess").await, Err(SignInError::Wrong)));
        }
        assert!(matches!(bench.sign_in("203.0.113.1", "ann", "ann's password").await, Err(SignInError::TooOften(_))));
        for _ in 0..20 {
            bench.sign_in("192.0.2.1", "ann", "ann's password").await.unwrap();
        }
        let refused = bench.store.audit_entries(None, 1000).await.unwrap();
        let refused: Vec<_> = refused.iter().filter(|entry| entry.action == "session.refuse").collect();
        assert_eq!(refused.len(), 2, "one row for each address");
        assert!(refused.iter().all(|row| row.subject == "ann" && !row.detail.contains("guess")));
    }

    #[test]
    fn a_household_is_one_place() {
        let place = |text: &str| super::place(text.parse().unwrap()).to_string();
        assert_eq!((place("2001:db8:1:2:3::4"), place("::ffff:192.0.2.1")), ("2001:db8:1:2::".into(), "192.0.2.1".into()));
    }
}
