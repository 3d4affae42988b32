//! Draws a trace as SVG: waiting messages and workers under each policy. It follows the reader's light
//! or dark mode.

use std::fmt::Write;

use super::report::Result;
use super::simulation::{Minute, Run};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const PANEL: f64 = 150.0;
const TOPS: [f64; 2] = [64.0, 258.0];
const HEIGHT: f64 = 446.0;
/// Points of a line; more could not be distinguished.
const POINTS: usize = 240;

/// Colours that are distinct on white and on black, for colour-blind readers too.
const STYLE: &str = "\
svg{background:#fff;font:12px sans-serif}\
text{fill:#333}.grid{stroke:#ddd}.axis{stroke:#888}\
path{fill:none;stroke-width:2;stroke-linejoin:round}\
.p0{stroke:#0072b2}.p1{stroke:#d55e00;stroke-dasharray:6 3}.p2{stroke:#707070;stroke-dasharray:2 3}\
@media(prefers-color-scheme:dark){svg{background:#111}text{fill:#ddd}.grid{stroke:#333}\
.p0{stroke:#56b4e9}.p1{stroke:#e69f00}.p2{stroke:#aaa}}";

/// Draws the runs of one trace, from just before the first message.
pub fn draw(result: &Result) -> String {
    let start = result.runs.first().map_or(0, |run| run.first as usize / 60).saturating_sub(1);
    let cut = |run: &Run| run.minutes.get(start..).unwrap_or_default().to_vec();
    let runs: Vec<Vec<Minute>> = result.runs.iter().map(cut).collect();
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>",
        result.trace.title.replace('`', "")
    );
    legend(&mut svg, result);
    panel(&mut svg, &runs, TOPS[0], "messages waiting or in work", |minute| minute.messages);
    panel(&mut svg, &runs, TOPS[1], "workers that take jobs", |minute| minute.workers);
    svg + "</svg>\n"
}

fn legend(svg: &mut String, result: &Result) {
    let mut x = LEFT;
    for (number, run) in result.runs.iter().enumerate() {
        let to = x + 28.0;
        let _ = writeln!(svg, "<path class=\"p{number}\" d=\"M{x} 20H{to}\"/>");
        let _ = writeln!(svg, "<text x=\"{}\" y=\"24\">{}</text>", to + 6.0, run.name);
        x += 60.0 + 7.0 * run.name.len() as f64;
    }
}

type Value = fn(&Minute) -> f64;

fn panel(svg: &mut String, runs: &[Vec<Minute>], top: f64, title: &str, value: Value) {
    let minutes = runs.iter().map(Vec::len).max().unwrap_or(1).max(2);
    let most = round_up(runs.iter().flatten().map(value).fold(1.0, f64::max));
    let y = |number: f64| top + PANEL * (1.0 - number / most);
    let x = |minute: usize| LEFT + (WIDTH - LEFT - RIGHT) * minute as f64 / (minutes - 1) as f64;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{title}</text>", top - 10.0);
    for half in 0..=2_u32 {
        let number = most * f64::from(half) / 2.0;
        let (at, class) = (y(number), if half == 0 { "axis" } else { "grid" });
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" style=\"stroke-width:1\" d=\"M{LEFT} {at:.1}H{:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{number}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for hour in hours(minutes) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{hour} h</text>",
            x(hour * 60),
            top + PANEL + 18.0
        );
    }
    for (number, run) in runs.iter().enumerate().rev() {
        let points = thinned(run, value).into_iter();
        let line = points.map(|(minute, number)| format!("{:.1} {:.1}", x(minute), y(number)));
        let line = line.collect::<Vec<_>>().join("L");
        let _ = writeln!(svg, "<path class=\"p{number}\" d=\"M{line}\"/>");
    }
}

/// At most this many points, each the average of its minutes.
fn thinned(minutes: &[Minute], value: Value) -> Vec<(usize, f64)> {
    let width = minutes.len().div_ceil(POINTS).max(1);
    let average = |chunk: &[Minute]| chunk.iter().map(value).sum::<f64>() / chunk.len() as f64;
    minutes.chunks(width).enumerate().map(|(at, chunk)| (at * width, average(chunk))).collect()
}

/// Labels of full hours below the axis, about eight.
fn hours(minutes: usize) -> impl Iterator<Item = usize> {
    let hours = (minutes - 1) / 60;
    (0..=hours).step_by(hours.div_ceil(8).max(1))
}

/// The next number that is 1, 2, 4 or 5 times a power of ten.
fn round_up(number: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for factor in [1.0, 2.0, 4.0, 5.0] {
            if power * factor >= number.max(2.0) {
                return power * factor;
            }
        }
        power *= 10.0;
    }
}
