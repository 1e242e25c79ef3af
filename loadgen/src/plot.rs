//! Pictures, drawn as SVG: that needs no fonts of this machine and stays sharp and small.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::timeline::Point;

/// What a line shows of a window.
type Figure = fn(&Point) -> f64;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(110, 118, 129);
const GRID: RGBColor = RGBColor(228, 231, 235);
const FRAME: RGBColor = RGBColor(170, 176, 184);
/// Colours that stay apart for most eyes, one per server.
const SERVERS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(160, 120, 0),
];
/// The percentiles of a latency panel, the rarest first, as it is drawn below the others.
const MAX: RGBColor = RGBColor(196, 201, 208);
const P999: RGBColor = RGBColor(203, 67, 53);
const P99: RGBColor = RGBColor(243, 156, 18);
const P50: RGBColor = RGBColor(36, 113, 163);
const GROWS: RGBColor = RGBColor(232, 245, 233);
const DROPS: RGBColor = RGBColor(253, 237, 236);
const SAVES: RGBColor = RGBColor(234, 242, 248);

/// One server's line.
pub struct Track<'a> {
    pub name: &'a str,
    pub points: &'a [Point],
}

fn failed<E: std::error::Error + Send + Sync>(e: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("cannot draw: {e}")
}

/// Draws below a title and a caption, and writes it.
fn picture(
    path: &Path,
    size: (u32, u32),
    title: &str,
    caption: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<()> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        text(&root, title, (18, 22), 19, INK, HPos::Left)?;
        text(&root, caption, (18, 44), 13, FAINT, HPos::Left)?;
        draw(&root.margin(58, 10, 10, 18))?;
        root.present().map_err(failed)?;
    }
    crate::picture::write(path, &svg)
}

fn text(area: &Area<'_>, what: &str, at: (i32, i32), size: u32, ink: RGBColor, hpos: HPos) -> Result<()> {
    let style = (FONT, size).into_font().color(&ink).pos(Pos::new(hpos, VPos::Center));
    area.draw_text(what, &style, at).map_err(failed)
}

/// Legend entries, drawn from right to left.
fn legend(area: &Area<'_>, y: i32, mut right: i32, entries: &[(&str, RGBColor)]) -> Result<()> {
    for (name, colour) in entries.iter().rev() {
        text(area, name, (right, y), 13, INK, HPos::Right)?;
        // About what the letters take: SVG leaves the font to the reader.
        right -= (name.chars().count() as f64 * 6.6) as i32 + 8;
        let line = PathElement::new(vec![(right - 18, y), (right, y)], colour.stroke_width(3));
        area.draw(&line).map_err(failed)?;
        right -= 34;
    }
    Ok(())
}

/// Latency of each server in a panel of its own, memory of all in one.
pub fn timeline(path: &Path, caption: &str, tracks: &[Track<'_>]) -> Result<()> {
    let columns = tracks.len().clamp(1, 3);
    let rows = tracks.len().div_ceil(columns);
    let height = 58 + 270 * rows as u32 + 270;
    let names: Vec<&str> = tracks.iter().map(|t| t.name).collect();
    let title = format!("Latency and memory over time: {}", names.join(", "));
    let all = || tracks.iter().flat_map(|t| t.points.iter());
    let end = all().map(|p| p.seconds).fold(1.0, f64::max);
    let used = all().filter(|p| p.requests > 0);
    let lowest = used.map(|p| p.p50_us).fold(f64::INFINITY, f64::min);
    let highest = all().map(|p| p.max_us).fold(1.0, f64::max);
    let range = decade_below(lowest.min(highest))..decade_above(highest);
    picture(path, (1100, height), &title, caption, |root| {
        let (above, below) = root.split_vertically(270 * rows as i32);
        for (panel, track) in above.split_evenly((rows, columns)).iter().zip(tracks) {
            latency_panel(panel, track, end, range.clone())?;
        }
        memory_panel(&below, tracks, end)
    })
}

fn decade_below(us: f64) -> f64 {
    10f64.powf(us.max(1.0).log10().floor())
}

fn decade_above(us: f64) -> f64 {
    10f64.powf(us.max(10.0).log10().ceil())
}

/// `50 µs`, `2 ms`, `1 s`.
fn time_label(us: f64) -> String {
    match us {
        _ if us >= 1e6 => format!("{} s", us / 1e6),
        _ if us >= 1e3 => format!("{} ms", us / 1e3),
        _ => format!("{us} µs"),
    }
}

/// A chart with the margins that all of them have.
fn chart_on<'a, 'b>(body: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(body);
    chart.margin_right(14).x_label_area_size(30).y_label_area_size(62);
    chart
}

/// Lines and labels that stay behind what is shown.
fn plain<'a, 'b, 'c, X, Y>(
    mesh: &'c mut MeshStyle<'a, 'b, X, Y, SVGBackend<'a>>,
) -> &'c mut MeshStyle<'a, 'b, X, Y, SVGBackend<'a>>
where
    X: Ranged + ValueFormatter<X::ValueType>,
    Y: Ranged + ValueFormatter<Y::ValueType>,
{
    let label = (FONT, 12).into_font().color(&FAINT);
    mesh.light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(FRAME).label_style(label)
}

fn latency_panel(area: &Area<'_>, track: &Track<'_>, end: f64, range: Range<f64>) -> Result<()> {
    let (head, body) = area.split_vertically(26);
    text(&head, track.name, (62, 13), 15, INK, HPos::Left)?;
    let keys = [("p50", P50), ("p99", P99), ("p99.9", P999), ("max", MAX)];
    legend(&head, 13, head.dim_in_pixel().0 as i32 - 14, &keys)?;
    let mut chart =
        chart_on(&body).build_cartesian_2d(0.0..end, range.clone().log_scale()).map_err(failed)?;
    for (from, to, colour) in bands(track.points) {
        chart
            .draw_series([Rectangle::new([(from, range.start), (to, range.end)], colour.filled())])
            .map_err(failed)?;
    }
    plain(&mut chart.configure_mesh())
        .y_label_formatter(&|us| time_label(*us))
        .x_label_formatter(&|s| format!("{s:.0} s"))
        .draw()
        .map_err(failed)?;
    let lines: [(Figure, RGBColor); 4] =
        [(|p| p.max_us, MAX), (|p| p.p999_us, P999), (|p| p.p99_us, P99), (|p| p.p50_us, P50)];
    for (value, colour) in lines {
        let points = track.points.iter().filter(|p| p.requests > 0);
        let line = points.map(|p| (p.seconds, value(p).clamp(range.start, range.end)));
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).map_err(failed)?;
    }
    Ok(())
}

/// The stretches in which the key space grows, shrinks or is saved.
fn bands(points: &[Point]) -> Vec<(f64, f64, RGBColor)> {
    let mut bands: Vec<(f64, f64, RGBColor)> = Vec::new();
    let mut from = 0.0;
    for p in points {
        let colour = match p.phase {
            "grow" => Some(GROWS),
            "drop" => Some(DROPS),
            "save" => Some(SAVES),
            _ => None,
        };
        match (bands.last_mut(), colour) {
            (Some(last), Some(c)) if last.1 == from && last.2 == c => last.1 = p.seconds,
            (_, Some(c)) => bands.push((from, p.seconds, c)),
            _ => {}
        }
        from = p.seconds;
    }
    bands
}

fn memory_panel(area: &Area<'_>, tracks: &[Track<'_>], end: f64) -> Result<()> {
    let (head, body) = area.split_vertically(26);
    text(&head, "resident memory, MiB", (62, 13), 15, INK, HPos::Left)?;
    let mut keys: Vec<(&str, RGBColor)> = vec![("keys and values themselves", FRAME)];
    keys.extend(tracks.iter().enumerate().map(|(i, t)| (t.name, SERVERS[i % SERVERS.len()])));
    legend(&head, 13, head.dim_in_pixel().0 as i32 - 14, &keys)?;
    let top =
        tracks.iter().flat_map(|t| t.points).map(|p| p.resident_mib.max(p.data_mib)).fold(1.0, f64::max);
    let mut chart = chart_on(&body).build_cartesian_2d(0.0..end, 0.0..top * 1.05).map_err(failed)?;
    plain(&mut chart.configure_mesh())
        .y_labels(6)
        .y_label_formatter(&|mib| format!("{mib:.0}"))
        .x_label_formatter(&|s| format!("{s:.0} s"))
        .draw()
        .map_err(failed)?;
    // What is stored is the same for all of them as long as they keep up.
    if let Some(first) = tracks.first() {
        let data = std::iter::once((0.0, 0.0)).chain(first.points.iter().map(|p| (p.seconds, p.data_mib)));
        chart.draw_series(AreaSeries::new(data, 0.0, FRAME.mix(0.35))).map_err(failed)?;
    }
    for (i, track) in tracks.iter().enumerate() {
        let line = track.points.iter().map(|p| (p.seconds, p.resident_mib));
        let style = SERVERS[i % SERVERS.len()].stroke_width(3);
        chart.draw_series(LineSeries::new(line, style)).map_err(failed)?;
    }
    Ok(())
}

/// A line of shares: how many percent were there by then, in milliseconds.
pub struct Curve<'a> {
    pub name: &'a str,
    pub points: &'a [(f64, f64)],
}

/// Shares by time, all in one panel.
pub fn curves(path: &Path, title: &str, caption: &str, lines: &[Curve<'_>]) -> Result<()> {
    picture(path, (1100, 420), title, caption, |root| {
        let (head, body) = root.split_vertically(26);
        let names = lines.iter().map(|l| l.name);
        names_of(&head, names)?;
        let end = lines.iter().flat_map(|l| l.points).map(|p| p.0).fold(1.0, f64::max);
        let range = 0.1..decade_above(end * 1e3) / 1e3;
        let mut chart =
            chart_on(&body).build_cartesian_2d(range.clone().log_scale(), 0.0..101.0).map_err(failed)?;
        plain(&mut chart.configure_mesh())
            .y_labels(5)
            .y_label_formatter(&|share| format!("{share:.0} %"))
            .x_label_formatter(&|ms| time_label(ms * 1e3))
            .draw()
            .map_err(failed)?;
        for (i, line) in lines.iter().enumerate() {
            let points = thinned(line.points, range.start, range.end);
            let style = SERVERS[i % SERVERS.len()].stroke_width(3);
            chart.draw_series(LineSeries::new(points, style)).map_err(failed)?;
        }
        Ok(())
    })
}

/// A legend of servers, in their colours.
fn names_of<'n>(head: &Area<'_>, names: impl Iterator<Item = &'n str>) -> Result<()> {
    let keys: Vec<(&str, RGBColor)> =
        names.enumerate().map(|(i, name)| (name, SERVERS[i % SERVERS.len()])).collect();
    legend(head, 13, head.dim_in_pixel().0 as i32 - 14, &keys)
}

/// Latencies of servers, side by side.
pub struct Panel<'a> {
    /// What was measured; may be empty.
    pub name: &'a str,
    pub lines: Vec<(&'a str, &'a Histogram<u64>)>,
}

/// Latencies by percentile, which are further apart the rarer they are: as many of them above 90 % as below.
pub fn percentiles(path: &Path, title: &str, caption: &str, panels: &[Panel<'_>]) -> Result<()> {
    let columns = panels.len().clamp(1, 2);
    let rows = panels.len().div_ceil(columns);
    let all = || panels.iter().flat_map(|p| p.lines.iter()).map(|l| l.1).filter(|h| !h.is_empty());
    let us = |ns: u64| ns as f64 / 1e3;
    let lowest = all().map(|h| us(h.min())).fold(f64::INFINITY, f64::min);
    let highest = all().map(|h| us(h.max())).fold(1.0, f64::max);
    let range = decade_below(lowest.min(highest))..decade_above(highest);
    // Beyond one request in so many there is nothing to be seen.
    let requests = all().map(|h| h.len()).max().unwrap_or(1);
    let nines = (requests.max(100) as f64).log10().min(6.0);
    picture(path, (1100, 58 + 330 * rows as u32), title, caption, |root| {
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(panels) {
            percentile_panel(area, panel, nines, range.clone())?;
        }
        Ok(())
    })
}

fn percentile_panel(area: &Area<'_>, panel: &Panel<'_>, nines: f64, range: Range<f64>) -> Result<()> {
    let (head, body) = area.split_vertically(26);
    text(&head, panel.name, (62, 13), 15, INK, HPos::Left)?;
    names_of(&head, panel.lines.iter().map(|l| l.0))?;
    let mut chart =
        chart_on(&body).build_cartesian_2d(0.0..nines, range.clone().log_scale()).map_err(failed)?;
    plain(&mut chart.configure_mesh())
        .x_labels(nines.ceil() as usize + 1)
        .y_label_formatter(&|us| time_label(*us))
        .x_label_formatter(&|nines| percentile_label(*nines))
        .draw()
        .map_err(failed)?;
    for (i, (_, latency)) in panel.lines.iter().enumerate() {
        // One request in as many as there were is the last that this line knows of.
        let known = (latency.len().max(1) as f64).log10().min(nines);
        let points = (0..=PERCENTILE_STEPS).map(|step| known * f64::from(step) / f64::from(PERCENTILE_STEPS));
        let line = points.map(|x| {
            let us = latency.value_at_quantile(1.0 - 10f64.powf(-x)) as f64 / 1e3;
            (x, us.clamp(range.start, range.end))
        });
        let style = SERVERS[i % SERVERS.len()].stroke_width(3);
        chart.draw_series(LineSeries::new(line, style)).map_err(failed)?;
    }
    Ok(())
}

/// Points of a line by percentile.
const PERCENTILE_STEPS: u32 = 200;

/// `0 %`, `90 %`, `99.9 %`: by the number of nines.
fn percentile_label(nines: f64) -> String {
    let digits = (nines.round() as usize).saturating_sub(2);
    format!("{:.digits$} %", 100.0 - 100.0 * 10f64.powf(-nines))
}

/// The line from the left edge to the right one, without the points that nobody would see.
fn thinned(points: &[(f64, f64)], from: f64, to: f64) -> Vec<(f64, f64)> {
    let mut seen = vec![(from, 0.0)];
    for &(x, y) in points {
        let (last_x, last_y) = seen[seen.len() - 1];
        let x = x.clamp(from, to);
        if y - last_y > 0.2 || x > last_x * 1.02 {
            seen.push((x, y));
        }
    }
    if let Some(last) = points.last() {
        seen.extend([(last.0.clamp(from, to), last.1), (to, last.1)]);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_percentiles() {
        let labels = [0.0, 1.0, 2.0, 3.0, 4.0].map(percentile_label);
        assert_eq!(labels, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
