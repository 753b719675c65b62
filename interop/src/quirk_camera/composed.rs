//! Cameras of several quirks at once.

use super::{Answers, Marks, OptionsAnswer, Quirks, RtpInfo, Sequence, Sound, SoundSetup, Ssrc, Times};
use crate::dice::Dice;

impl Quirks {
    /// A camera with any of those that cost no picture and no connection when they are alone.
    #[must_use]
    pub fn composed(dice: &mut Dice) -> Self {
        use Sound::{
            Aac, AacWithBrokenConfig, AacWithBrokenPackets, AacWithSomeBrokenPackets, AacWithoutConfig, AacWithoutFmtp, G722, G726, L16,
            Latm, Opus, Pcma, Pcma16, PcmaWithEmptyPackets, PcmaWithoutClock, Pcmu, Speex, WithoutMap,
        };
        let sounds = [
            Aac,
            Pcma,
            Pcmu,
            Pcma16,
            G722,
            G726,
            L16,
            Latm,
            Opus,
            Speex,
            AacWithoutFmtp,
            AacWithoutConfig,
            AacWithBrokenConfig,
            AacWithBrokenPackets,
            AacWithSomeBrokenPackets,
            PcmaWithoutClock,
            WithoutMap,
            PcmaWithEmptyPackets,
        ];
        let answers =
            [Answers::BareLineFeeds, Answers::WithoutCseq, Answers::WithWrongCseq, Answers::WithoutReason, Answers::WithEmptyHeaders];
        let ssrcs = [Ssrc::UnlikeSetup, Ssrc::NewEachKeyFrame, Ssrc::NewEachKeyFrameFromAnywhere, Ssrc::NewNowAndThen, Ssrc::NewEachPacket];
        let times = [Times::StepBack, Times::StepAhead, Times::TenTimesTooFast, Times::HalfAsFast, Times::StandStill];
        let strays: [&'static [u8]; 4] = [b"\r\n", b"\0\x01\xff", b"RTP ", b"OPTIONS"];
        let options = dice.roll(6);
        use OptionsAnswer::{HangsUpBehind, Refused, RefusedForGood};
        // One that is silent costs the time until it is taken for that: it has a test of its own.
        let refusals = [HangsUpBehind, Refused(401), Refused(501), RefusedForGood(405)];
        // Over UDP the sequence numbers are all that tells what is lost.
        let is_udp = dice.roll(8) == 0;
        let sequences: &[Sequence] =
            if is_udp { &[Sequence::Right] } else { &[Sequence::RestartsEachKeyFrame, Sequence::Twice, Sequence::LatePacket] };
        let ssrcs = if is_udp { &ssrcs[..1] } else { &ssrcs[..] };
        let times = dice.mostly(Times::Right, &times);
        // Without a mark and with one time for all of them nothing in RTP tells one picture from the next.
        let marks: &[Marks] = if times == Times::StandStill { &[Marks::Always] } else { &[Marks::Never, Marks::Always] };
        Self {
            sound: dice.mostly(Sound::None, &sounds),
            sound_setup: dice.mostly(SoundSetup::Taken, &[SoundSetup::Refused(400), SoundSetup::Refused(454), SoundSetup::SameChannel]),
            has_sounds_around: dice.roll(5) == 0,
            answers: dice.mostly(Answers::Right, &answers),
            stray: dice.mostly(b"", &strays),
            ssrc: dice.mostly(Ssrc::Constant, ssrcs),
            sequence: dice.mostly(Sequence::Right, sequences),
            times,
            marks: dice.mostly(Marks::Right, marks),
            rtp_info: dice.mostly(RtpInfo::Right, &[RtpInfo::None, RtpInfo::WrongSeq, RtpInfo::WrongTime, RtpInfo::Nonsense]),
            needs_options: options == 0,
            options: if options == 1 { dice.mostly(OptionsAnswer::HangsUp, &refusals) } else { OptionsAnswer::Right },
            is_udp,
            renews_nonce: dice.roll(6) == 0,
            ignores_keepalive: dice.roll(6) == 0,
            misnumbers_keepalive: dice.roll(6) == 0,
            odd_headers: dice.roll(4) == 0,
            noise: dice.roll(4) == 0,
            long_headers: dice.roll(4) == 0,
            lies_of_padding: dice.roll(6) == 0,
            other_payload_type: dice.roll(6) == 0,
            broken_packets: dice.roll(6) == 0,
            garbled: 0,
            hides_ports: dice.roll(3) == 0,
            source: dice.mostly(None, &[Some("0.0.0.0"), Some("127.0.0.3"), Some("camera.local")]),
            stranger: if dice.roll(3) == 0 { Some("127.0.0.2") } else { None },
        }
    }
}
