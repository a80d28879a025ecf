//! Tables, comma-separated values, and a plot.

use std::fmt::Write;

use super::measure::{Contestant, Figures};

/// Everything measured.
#[derive(Debug, Default)]
pub struct Report {
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    variant: &'static str,
    what: &'static str,
    who: &'static str,
    filters: u32,
    figures: Figures,
}

/// Who the others are compared with.
const US: &str = "sluice";
const COLOURS: [&str; 8] = ["#c00", "#07a", "#393", "#a60", "#629", "#666", "#d4a", "#0aa"];

impl Report {
    /// Takes in what was measured for one workload.
    pub fn add(&mut self, variant: &'static str, filters: u32, contestants: &[Contestant<'_>]) {
        for contestant in contestants {
            for (what, figures) in ["throughput", "latency"].into_iter().zip(contestant.figures()) {
                let who = contestant.name();
                let cell = figures.map(|figures| Cell { variant, what, who, filters, figures });
                self.cells.extend(cell);
            }
        }
    }

    /// Tables in Markdown: lowest / middle in nanoseconds, and us relative to the peer, lowest to
    /// lowest and middle to middle.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (variant, what) in self.kinds() {
            let cells: Vec<&Cell> = self.of(variant, what).collect();
            let mut counts: Vec<u32> = cells.iter().map(|cell| cell.filters).collect();
            counts.sort_unstable();
            counts.dedup();
            let _ = write!(text, "\n### `{variant}`, {what}\n\n| N |");
            for count in &counts {
                let _ = write!(text, " {count} |");
            }
            let _ = write!(text, "\n|---|{}\n", "---|".repeat(counts.len()));
            for who in names(&cells) {
                let _ = write!(text, "| {who} |");
                for count in &counts {
                    let _ = write!(text, " {} |", self.cell(&cells, who, *count));
                }
                text.push('\n');
            }
        }
        text
    }

    fn cell(&self, cells: &[&Cell], who: &str, count: u32) -> String {
        let find = |who: &str| {
            let mut all = cells.iter().filter(|cell| cell.filters == count);
            all.find(|cell| cell.who == who).map(|cell| cell.figures)
        };
        let Some(Figures { best, median }) = find(who) else { return String::from("-") };
        let ours = find(US).filter(|_| who != US);
        let ratio = ours
            .map(|ours| format!(" (**{:.2}** / {:.2})", ours.best / best, ours.median / median));
        format!("{best:.2} / {median:.2}{}", ratio.unwrap_or_default())
    }

    /// One line per cell.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("variant,figure,who,filters,best_ns,median_ns\n");
        for Cell { variant, what, who, filters, figures } in &self.cells {
            let Figures { best, median } = figures;
            let _ = writeln!(text, "{variant},{what},\"{who}\",{filters},{best:.3},{median:.3}");
        }
        text
    }

    /// Best times over N, both axes logarithmic, a panel per variant and figure.
    #[must_use]
    pub fn svg(&self) -> String {
        let kinds = self.kinds();
        let (width, height) = (420.0, 300.0);
        let rows = kinds.len().div_ceil(2) as f64;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n",
            width * 2.0,
            height * rows
        );
        for (nth, (variant, what)) in kinds.into_iter().enumerate() {
            let (left, top) = ((nth % 2) as f64 * width, (nth / 2) as f64 * height);
            let _ = writeln!(text, "<g transform=\"translate({left},{top})\">");
            let _ = writeln!(text, "<text x=\"50\" y=\"16\">{variant}, {what}: ns over N</text>");
            let cells: Vec<&Cell> = self.of(variant, what).collect();
            panel(&mut text, &cells);
            text.push_str("</g>\n");
        }
        text.push_str("</svg>\n");
        text
    }

    fn of(&self, variant: &str, what: &str) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| cell.variant == variant && cell.what == what)
    }

    fn kinds(&self) -> Vec<(&'static str, &'static str)> {
        let mut kinds = Vec::new();
        for cell in &self.cells {
            if !kinds.contains(&(cell.variant, cell.what)) {
                kinds.push((cell.variant, cell.what));
            }
        }
        kinds
    }
}

fn names(cells: &[&Cell]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for cell in cells {
        if !names.contains(&cell.who) {
            names.push(cell.who);
        }
    }
    names
}

/// One panel: 1 to 1,000,000 filters, 1 to 1,000 ns.
fn panel(text: &mut String, cells: &[&Cell]) {
    let x = |filters: u32| 50.0 + f64::from(filters.max(1)).log10() * 45.0;
    let y = |time: f64| 270.0 - time.clamp(1.0, 1000.0).log10() * 80.0;
    for decade in 0..=3 {
        let time = 10_f64.powi(decade);
        let at = y(time);
        let _ = writeln!(text, "<path d=\"M50 {at}H320\" stroke=\"#ddd\"/>");
        let _ = writeln!(text, "<text x=\"18\" y=\"{at}\">{time}</text>");
    }
    for decade in 0..=6 {
        let at = x(10_u32.pow(decade));
        let _ = writeln!(text, "<text x=\"{at}\" y=\"286\">1e{decade}</text>");
    }
    for (nth, who) in names(cells).into_iter().enumerate() {
        let colour = COLOURS[nth % COLOURS.len()];
        let own = cells.iter().filter(|cell| cell.who == who);
        let points: Vec<String> =
            own.map(|cell| format!("{},{}", x(cell.filters), y(cell.figures.best))).collect();
        let points = points.join(" ");
        let _ = writeln!(
            text,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
        let at = 40 + nth * 14;
        let _ = writeln!(text, "<text x=\"325\" y=\"{at}\" fill=\"{colour}\">{who}</text>");
    }
}
