//! A plot as SVG: a few lines over a number, both axes logarithmic.

use std::fmt::Write as _;

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// (Number, value); values of zero are left out.
    pub points: Vec<(u32, u64)>,
}

/// Width, height, and the plotted rectangle's left, top, right and bottom.
const SIZE: (u32, u32) = (720, 420);
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 520.0;
const BOTTOM: f64 = 370.0;
const COLOURS: [&str; 4] = ["#0b6e4f", "#e07a1f", "#3a5bbf", "#9c2c4d"];

/// Draws them. Below stands what the number is, at the left what the values are.
#[must_use]
pub fn plot(title: &str, (axis, unit): (&str, &str), all: &[Series]) -> String {
    let points = || all.iter().flat_map(|it| &it.points).filter(|(_, value)| *value > 0);
    let most_x = points().map(|(x, _)| *x).max().unwrap_or(1).max(2);
    let (low, high) = decades(points().map(|(_, value)| *value));
    let x = |runnable: u32| {
        LEFT + (RIGHT - LEFT) * f64::from(runnable.max(1)).log2() / f64::from(most_x).log2()
    };
    let y = |value: u64| {
        let part = ((value as f64).log10() - f64::from(low)) / f64::from(high - low);
        BOTTOM - (BOTTOM - TOP) * part
    };
    let mut text = head(title, (axis, unit));
    // Writing to a string never fails.
    for decade in low..=high {
        let at = y(10_u64.pow(decade));
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{RIGHT}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            10_u64.pow(decade)
        );
    }
    // Not more labels than have room.
    let apart = if most_x > 1_024 { 2 } else { 1 };
    let powers = (0..31).step_by(apart).map(|power| 1_u32 << power);
    for step in powers.take_while(|step| *step <= most_x) {
        let (at, below) = (x(step), BOTTOM + 18.0);
        let _ = writeln!(
            text,
            "<text x=\"{at:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{step}</text>"
        );
    }
    for (number, (series, colour)) in all.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let drawn = series.points.iter().filter(|(_, value)| *value > 0);
        let places: Vec<(f64, f64)> = drawn.map(|&(run, value)| (x(run), y(value))).collect();
        line(&mut text, colour, &places);
        let (at, label) = (TOP + 20.0 * (number as f64 + 1.0), &series.name);
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{label}</text>",
            RIGHT + 14.0
        );
    }
    text.push_str("</svg>\n");
    text
}

fn head(title: &str, (axis, unit): (&str, &str)) -> String {
    let (width, height) = SIZE;
    let (middle, below) = ((LEFT + RIGHT) / 2.0, BOTTOM + 40.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" \
         fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n\
         <text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{axis}</text>\n\
         <text x=\"{LEFT}\" y=\"34\">{unit}</text>\n"
    )
}

fn line(text: &mut String, colour: &str, places: &[(f64, f64)]) {
    let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let path = path.join(" ");
    let _ = writeln!(
        text,
        "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    for (x, y) in places {
        let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
}

/// The powers of ten below and above.
fn decades(values: impl Iterator<Item = u64> + Clone) -> (u32, u32) {
    let low = values.clone().min().unwrap_or(1).max(1).ilog10();
    let high = values.max().unwrap_or(10).max(1);
    let high = high.ilog10() + u32::from(!is_power(high));
    (low, high.clamp(low + 1, 19))
}

fn is_power(value: u64) -> bool {
    10_u64.checked_pow(value.ilog10()) == Some(value)
}

#[cfg(test)]
mod tests {
    use super::{Series, decades, plot};

    #[test]
    fn every_point_is_drawn_inside() {
        let series = |name: &str, points: &[(u32, u64)]| Series {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        let all = [series("a", &[(1, 40), (32, 41)]), series("b", &[(1, 90), (32, 0)])];
        let text = plot("title", ("axis", "unit"), &all);
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        assert_eq!(text.matches("<circle").count(), 3);
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(text.contains(">a</text>") && text.contains(">32</text>"));
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    #[test]
    fn an_empty_plot_is_one() {
        assert!(plot("t", ("a", "u"), &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn decades_enclose() {
        assert_eq!(decades([40, 90].into_iter()), (1, 2));
        assert_eq!(decades([100, 1000].into_iter()), (2, 3));
        assert_eq!(decades([7].into_iter()), (0, 1));
        assert_eq!(decades([100].into_iter()), (2, 3));
        assert_eq!(decades(std::iter::empty()), (0, 1));
    }
}
