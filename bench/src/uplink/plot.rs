//! A picture of each link: what it carried, what came in time, and how old the pictures were.

use super::Results;
use super::sender::Sender;
use super::trial::{DEADLINE_MS, Outcome};
use plotters::prelude::*;
use std::io;
use std::path::Path;

const SIZE: (u32, u32) = (1200, 720);
/// Latencies above this are drawn at the edge.
const LATENCY_SECS_MAX: f64 = 10.0;

/// Writes `DIR/<link>.svg`: the first run of each sender.
pub(crate) fn draw(result: &Results, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let file = dir.join(format!("{}.svg", result.name.replace(['/', ' '], "-")));
    draw_into(result, &file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
}

fn colour(sender: Sender) -> RGBColor {
    match sender {
        Sender::Sightline => RGBColor(20, 110, 190),
        Sender::Ffmpeg => RGBColor(205, 70, 55),
        Sender::FfmpegFifo => RGBColor(225, 150, 30),
    }
}

type Failure = Box<dyn std::error::Error>;

fn draw_into(result: &Results, file: &Path) -> Result<(), Failure> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    let firsts: Vec<(String, Sender, &Outcome)> = result
        .rows
        .iter()
        .filter_map(|(sender, server, outcomes)| Some((format!("{} to {server:?}", sender.name()), *sender, outcomes.first()?)))
        .collect();
    let link = result.schedule.kbps_by_second(result.secs);
    let most = firsts.iter().flat_map(|(_, _, one)| kbps(one, result.secs)).fold(1000.0, f64::max) * 1.3;
    let secs = result.secs as f64;

    let mut rates = ChartBuilder::on(&upper);
    let rates = rates.caption(&result.name, ("sans-serif", 22)).margin(12).x_label_area_size(24).y_label_area_size(60);
    let mut rates = rates.build_cartesian_2d(0.0..secs, 0.0..most)?;
    rates.configure_mesh().y_desc("kbit/s on time").light_line_style(WHITE).draw()?;
    let carried =
        (0..).zip(&link).flat_map(|(second, kbps)| [(f64::from(second), kbps.min(most)), (f64::from(second + 1), kbps.min(most))]);
    rates
        .draw_series(AreaSeries::new(carried, 0.0, RGBColor(225, 228, 232)))?
        .label("the link")
        .legend(|at| key(at, RGBColor(190, 195, 200)));
    for (name, sender, one) in &firsts {
        let colour = colour(*sender);
        let line = (0..).zip(kbps(one, result.secs)).map(|(second, kbps)| (f64::from(second) + 0.5, kbps));
        rates.draw_series(LineSeries::new(line, colour.stroke_width(2)))?.label(name.as_str()).legend(move |at| key(at, colour));
    }
    rates.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;

    let mut ages = ChartBuilder::on(&lower);
    let mut ages = ages.margin(12).x_label_area_size(30).y_label_area_size(60).build_cartesian_2d(0.0..secs, 0.0..LATENCY_SECS_MAX)?;
    ages.configure_mesh().x_desc("captured, s").y_desc("age at arrival, s").light_line_style(WHITE).draw()?;
    let deadline = DEADLINE_MS as f64 / 1000.0;
    ages.draw_series(LineSeries::new([(0.0, deadline), (secs, deadline)], BLACK.mix(0.4)))?;
    for (_, sender, one) in &firsts {
        let dots = one.pictures.iter().map(|picture| {
            let age = (picture.latency_ms() as f64 / 1000.0).min(LATENCY_SECS_MAX);
            Circle::new((picture.captured_ms as f64 / 1000.0, age), 1, colour(*sender).filled())
        });
        ages.draw_series(dots)?;
    }
    root.present()?;
    Ok(())
}

fn key((x, y): (i32, i32), colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(3))
}

/// On time, by the second of arrival.
fn kbps(one: &Outcome, secs: u64) -> Vec<f64> {
    let mut kbps = vec![0.0; usize::try_from(secs).unwrap_or(0)];
    for picture in one.pictures.iter().filter(|picture| picture.latency_ms() <= DEADLINE_MS) {
        if let Some(rate) = usize::try_from(picture.arrived_ms / 1000).ok().and_then(|second| kbps.get_mut(second)) {
            *rate += picture.bytes as f64 * 8.0 / 1000.0;
        }
    }
    kbps
}
