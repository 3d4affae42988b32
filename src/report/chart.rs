//! Bars as a picture in the page itself.
//!
//! Pure: the picture follows from the numbers.

use std::fmt::Write as _;

/// Width and height of the drawing; the page scales it.
const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 100.0;

/// Bars of these heights (0 to 1), whether there is anything at all, and what each stands for. The
/// names must be safe.
pub(super) fn bars(bars: impl ExactSizeIterator<Item = (f64, bool, String)>) -> String {
    let step = WIDTH / bars.len().max(1) as f64;
    let mut drawn = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"what was copied over time\">\n"
    );
    for (at, (height, is_there, name)) in bars.enumerate() {
        if !is_there {
            continue;
        }
        // What is there can be seen.
        let tall = (height * HEIGHT).clamp(1.0, HEIGHT);
        let _ = writeln!(
            drawn,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{tall:.2}\"><title>{name}</title></rect>",
            at as f64 * step,
            HEIGHT - tall,
            step * 0.9,
        );
    }
    drawn + "</svg>\n"
}
