//! Espressif's ESP32-P4-Function-EV-Board: which pin is what. Another board differs here.

use crate::card::Emac;
use core::{cell::RefCell, fmt, fmt::Write as _};
use critical_section::Mutex;
use esp_hal::{
    Blocking,
    clock::CpuClock,
    delay::Delay,
    efuse,
    ethernet::{Ethernet, EthernetDmaStorage, RmiiPinBundle, clock::ExternalRefClock, phy::generic::GenericPhy},
    gpio::{Level, Output, OutputConfig},
    handler,
    interrupt::wait_for_interrupt,
    peripherals::TIMG0,
    rng::Rng,
    time::{Duration, Instant},
    timer::{
        PeriodicTimer,
        systimer::SystemTimer,
        timg::{MwdtStage, TimerGroup, Wdt},
    },
    uart::{self, UartTx},
};
use sightline_board::Board;
use static_cell::ConstStaticCell;

/// Frames that may wait in the controller each way: a turn of the loop is a millisecond, in which 100 Mbit/s bring eight.
const FRAMES: usize = 8;
/// The loop's longest sleep.
const TICK: Duration = Duration::from_millis(1);
/// A turn of the loop takes well under a millisecond: one that takes so long hangs, and the chip starts anew.
const WATCHDOG: Duration = Duration::from_secs(5);
/// IP101G's data sheet asks for ten milliseconds of reset, and does not answer at once after it.
const PHY_RESET_MILLIS: u32 = 10;

static FRAMES_OF_DMA: ConstStaticCell<EthernetDmaStorage<FRAMES, FRAMES>> = ConstStaticCell::new(EthernetDmaStorage::new());
static TICKING: Mutex<RefCell<Option<PeriodicTimer<'static, Blocking>>>> = Mutex::new(RefCell::new(None));

/// The board, switched on.
pub(crate) struct FunctionEv {
    serial: RefCell<UartTx<'static, Blocking>>,
    watchdog: RefCell<Wdt<TIMG0<'static>>>,
}

/// Switches everything on: the board, its network card, and a number that is another one after each start.
pub(crate) fn switch_on() -> Result<(FunctionEv, Emac, u64), &'static str> {
    let pins = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    let serial = UartTx::new(pins.UART0, uart::Config::default()).map_err(|_| "the serial port can't be set up")?.with_tx(pins.GPIO37);
    let delay = Delay::new();
    // Low: the PHY is held in reset. The pin stays as it is left, high.
    let mut reset = Output::new(pins.GPIO51, Level::Low, OutputConfig::default());
    delay.delay_millis(PHY_RESET_MILLIS);
    reset.set_high();
    delay.delay_millis(PHY_RESET_MILLIS);
    let rmii = RmiiPinBundle {
        clock: ExternalRefClock::new(pins.GPIO50),
        rxd0: pins.GPIO29,
        rxd1: pins.GPIO30,
        rx_dv: pins.GPIO28,
        txd0: pins.GPIO34,
        txd1: pins.GPIO35,
        tx_en: pins.GPIO49,
        mdc: pins.GPIO31,
        mdio: pins.GPIO52,
    };
    let mut address = [0; 6];
    address.copy_from_slice(efuse::base_mac_address().as_bytes());
    let ethernet = Ethernet::new(pins.ETH, FRAMES_OF_DMA.take(), address, GenericPhy::new_auto(), rmii)
        .map_err(|_| "the Ethernet PHY does not answer: this image is for the ESP32-P4-Function-EV-Board and its pins")?;
    tick(PeriodicTimer::new(SystemTimer::new(pins.SYSTIMER).alarm0))?;
    let watchdog = TimerGroup::new(pins.TIMG0).wdt;
    let random = Rng::new();
    let seed = u64::from(random.random()) << 32 | u64::from(random.random());
    Ok((FunctionEv { serial: RefCell::new(serial), watchdog: RefCell::new(watchdog) }, Emac(ethernet.into_async()), seed))
}

/// Ends the loop's sleep each millisecond.
fn tick(mut timer: PeriodicTimer<'static, Blocking>) -> Result<(), &'static str> {
    timer.set_interrupt_handler(ticked);
    timer.start(TICK).map_err(|_| "the timer does not start")?;
    critical_section::with(|section| {
        TICKING.borrow_ref_mut(section).insert(timer).listen();
    });
    Ok(())
}

#[handler]
fn ticked() {
    critical_section::with(|section| {
        if let Some(timer) = &mut *TICKING.borrow_ref_mut(section) {
            timer.clear_interrupt();
        }
    });
}

impl FunctionEv {
    /// From now on the loop must turn.
    pub(crate) fn watch(&self) {
        let mut watchdog = self.watchdog.borrow_mut();
        watchdog.set_timeout(MwdtStage::Stage0, WATCHDOG);
        watchdog.enable();
    }

    /// The loop turns.
    pub(crate) fn feed(&self) {
        self.watchdog.borrow_mut().feed();
    }
}

impl Board for FunctionEv {
    fn micros(&self) -> u64 {
        Instant::now().duration_since_epoch().as_micros()
    }

    fn sleep_until(&self, _: u64) {
        // A tick ends it, or a frame.
        wait_for_interrupt();
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        write_line(&mut self.serial.borrow_mut(), line);
    }
}

fn write_line(serial: &mut UartTx<'static, Blocking>, line: fmt::Arguments<'_>) {
    // Nobody may be listening.
    let _ = serial.write_fmt(line);
    let _ = serial.write_str("\r\n");
    let _ = serial.flush();
}

/// The last line before a reset.
#[expect(unsafe_code, reason = "the serial port is taken from whoever has it: the chip starts anew after this line")]
pub(crate) fn cry(line: fmt::Arguments<'_>) {
    // SAFETY: nothing else runs: interrupts only clear a timer, and the caller does not return.
    let (port, pin) = unsafe { (esp_hal::peripherals::UART0::steal(), esp_hal::peripherals::GPIO37::steal()) };
    if let Ok(serial) = UartTx::new(port, uart::Config::default()) {
        write_line(&mut serial.with_tx(pin), line);
    }
}
