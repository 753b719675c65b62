//! The chip's Ethernet controller and its PHY, as TCP/IP sees them.

use core::task::{Context, Waker};
use embassy_net_driver::{Driver, LinkState, RxToken, TxToken};
use esp_hal::{
    Async,
    ethernet::{Ethernet, phy::generic::GenericPhy},
};
use sightline_board::Card;
use smoltcp::{
    phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium},
    time::Instant,
};

type Driven = Ethernet<'static, Async, GenericPhy>;

/// The controller. Its interrupts only end the loop's sleep: frames are looked for at each turn.
pub(crate) struct Emac(pub(crate) Driven);

impl Card for Emac {
    fn mac_address(&self) -> [u8; 6] {
        self.0.mac_addr()
    }

    /// Asks the PHY, and follows the speed that it has agreed on.
    fn is_up(&mut self) -> bool {
        self.0.link_state(&mut Context::from_waker(Waker::noop())) == LinkState::Up
    }
}

/// A frame in the controller's own buffer.
pub(crate) struct Received<T>(T);

impl<T: RxToken> phy::RxToken for Received<T> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        self.0.consume(|frame| read(frame))
    }
}

/// A place for a frame in the controller's own buffer.
pub(crate) struct Sent<T>(T);

impl<T: TxToken> phy::TxToken for Sent<T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        self.0.consume(bytes, write)
    }
}

impl phy::Device for Emac {
    type RxToken<'a> = Received<<Driven as Driver>::RxToken<'a>>;
    type TxToken<'a> = Sent<<Driven as Driver>::TxToken<'a>>;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let (received, sent) = Driver::receive(&mut self.0, &mut Context::from_waker(Waker::noop()))?;
        Some((Received(received), Sent(sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        Driver::transmit(&mut self.0, &mut Context::from_waker(Waker::noop())).map(Sent)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let driver = Driver::capabilities(&self.0);
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = driver.max_transmission_unit;
        capabilities.max_burst_size = driver.max_burst_size;
        // The controller computes and checks all of them.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities
    }
}
