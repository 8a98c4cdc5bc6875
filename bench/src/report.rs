//! What is printed: the machine, one table of loads, one of targets.

use std::fmt::Write;

use muster_ca::SigningAlgorithm;
use muster_core::Clock;
use muster_server::clock::SystemClock;

use crate::Arguments;
use crate::floor::Floor;
use crate::measure;
use crate::scenario::Medians;
use crate::table::Table;

/// A CA's part.
pub(crate) struct Authority {
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) floor: Floor,
    pub(crate) scenarios: Vec<Medians>,
}

/// With so many certificates in the store.
pub(crate) struct Stored {
    pub(crate) size: u32,
    pub(crate) medians: Medians,
}

/// The neighbour's part.
#[derive(Default)]
pub(crate) enum Neighbour {
    /// It was not wanted.
    #[default]
    NotAsked,
    /// Why it was not run.
    NotRun(String),
    /// What came of it.
    Run(Vec<Medians>),
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) authorities: Vec<Authority>,
    pub(crate) stored: Vec<Stored>,
    pub(crate) policies: Vec<Medians>,
    /// Loads, single values and targets of tickets and of renewals.
    pub(crate) others: Vec<Medians>,
    pub(crate) singles: Vec<(String, String)>,
    pub(crate) verdicts: Vec<Verdict>,
    /// Tables with columns of their own.
    pub(crate) tables: Vec<Table>,
    pub(crate) neighbour: Neighbour,
    /// MiB under load, after the first password was verified.
    pub(crate) peak_memory: Option<f64>,
    /// MiB at most while the first password was verified.
    pub(crate) peak_memory_sign_in: Option<f64>,
    /// Milliseconds from the start to the first answer, and to the first with a password.
    pub(crate) start_ms: Option<(f64, f64)>,
    pub(crate) password_ms: f64,
    pub(crate) load_before: String,
    pub(crate) load_after: String,
}

/// What is compared with a target, and the target.
#[derive(Clone)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) target: String,
    pub(crate) value: String,
    pub(crate) met: bool,
}

impl Results {
    /// The whole text.
    pub(crate) fn text(&self, arguments: &Arguments) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}; {}", SystemClock.now(), measure::machine());
        let _ = writeln!(
            text,
            "load average {} before and {} after; medians of {} {}\n",
            self.load_before,
            self.load_after,
            arguments.runs(),
            if arguments.quick { "short run: its numbers mean nothing" } else { "runs" },
        );
        let loads = self.loads();
        for table in self.tables.iter().chain((!loads.is_empty()).then_some(&loads)) {
            let _ = writeln!(text, "{}", table.text(arguments.markdown));
        }
        let _ = writeln!(text, "{}", self.singles().text(arguments.markdown));
        if let Neighbour::NotRun(why) = &self.neighbour {
            let _ = writeln!(text, "NOT RUN: {why}\n");
        }
        let verdicts = self.verdicts();
        if !verdicts.is_empty() && !arguments.quick {
            let mut table = Table::new(&["Target", "at most or least", "measured", "met"]);
            for v in verdicts {
                table.row(vec![v.what, v.target, v.value, if v.met { "yes" } else { "NO" }.to_owned()]);
            }
            text.push_str(&table.text(arguments.markdown));
        }
        text
    }

    fn loads(&self) -> Table {
        let mut table = Table::new(&[
            "Load",
            "per second",
            "p50 ms",
            "p99 ms",
            "server CPU µs",
            "× floor",
            "× WSTEP floor",
        ]);
        let mut row = |m: &Medians, floor: Option<Floor>| {
            let ratio = |floor: f64| format!("{:.2}", m.server_cpu / floor);
            table.row(vec![
                m.name.clone(),
                format!("{:.0}", m.per_second),
                format!("{:.2}", m.p50),
                format!("{:.2}", m.p99),
                format!("{:.0}", m.server_cpu),
                floor.map_or_else(String::new, |f| ratio(f.certificate)),
                floor.map_or_else(String::new, |f| ratio(f.response)),
            ]);
        };
        for authority in &self.authorities {
            for scenario in &authority.scenarios {
                row(scenario, Some(authority.floor));
            }
        }
        let floor = self.authority(SigningAlgorithm::P256).map(|authority| authority.floor);
        for stored in &self.stored {
            row(&stored.medians, floor);
        }
        for medians in self.policies.iter().chain(&self.others) {
            row(medians, None);
        }
        if let Neighbour::Run(scenarios) = &self.neighbour {
            for scenario in scenarios {
                row(scenario, floor);
            }
        }
        table
    }

    fn singles(&self) -> Table {
        let mut table = Table::new(&["Measured apart", "value"]);
        let mut row = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
        for Authority { algorithm, floor, .. } in &self.authorities {
            let (what, sign) =
                (format!("floor, {algorithm} CA"), "verify a P-256 request + sign the certificate");
            row(&format!("{what}: {sign}"), format!("{:.1} µs", floor.certificate));
            let what = format!("WSTEP floor, {algorithm} CA: the same + sign the CMC full response");
            row(&what, format!("{:.1} µs", floor.response));
        }
        row("verify a password (Argon2id, 19 MiB, two passes)", format!("{:.0} ms", self.password_ms));
        for (what, value) in &self.singles {
            row(what, value.clone());
        }
        if let Some(peak) = self.peak_memory {
            let stored = self.stored.last().map_or(0, |stored| stored.size);
            row(&format!("peak memory, 64 clients, {stored} certificates stored"), format!("{peak:.1} MiB"));
        }
        if let Some(peak) = self.peak_memory_sign_in {
            row("peak memory until the first password was verified", format!("{peak:.1} MiB"));
        }
        if let Some((first, signed_in)) = self.start_ms {
            row("from start to the first answer", format!("{first:.0} ms"));
            row("from start to the first policies, a password verified", format!("{signed_in:.0} ms"));
        }
        table
    }

    fn authority(&self, algorithm: SigningAlgorithm) -> Option<&Authority> {
        self.authorities.iter().find(|authority| authority.algorithm == algorithm)
    }

    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = self.verdicts.clone();
        let mut judge = |what: &str, target: String, value: String, met: bool| {
            verdicts.push(Verdict { what: what.to_owned(), target, value, met });
        };
        for (algorithm, most) in [(SigningAlgorithm::P256, 2.0), (SigningAlgorithm::Rsa2048, 1.4)] {
            let Some((authority, cpu)) = self
                .authority(algorithm)
                .and_then(|a| Some((a, a.scenarios.iter().find(|s| is_64(s, algorithm))?.server_cpu)))
            else {
                continue;
            };
            for (name, floor) in
                [("floor", authority.floor.certificate), ("WSTEP floor", authority.floor.response)]
            {
                let ratio = cpu / floor;
                let what = format!("server CPU for an enrollment over the {name}, {algorithm}");
                judge(&what, format!("≤ {most:.1}"), format!("{ratio:.2}"), ratio <= most);
            }
        }
        let ours = self.authority(SigningAlgorithm::P256);
        let ours = ours.and_then(|a| a.scenarios.iter().find(|s| is_64(s, SigningAlgorithm::P256)));
        if let (Some(ours), Neighbour::Run(theirs)) = (ours, &self.neighbour)
            && let Some(theirs) = theirs.last()
        {
            let times = ours.per_second / theirs.per_second;
            judge(
                "enrollments over those of cfssl with SQLite, 64 clients",
                "≥ 10".to_owned(),
                format!("{times:.1}"),
                times >= 10.0,
            );
        }
        if let Some(peak) = self.peak_memory {
            judge("peak memory at 64 clients, MiB", "< 64".to_owned(), format!("{peak:.1}"), peak < 64.0);
        }
        if let (Some(first), Some(last)) = (self.stored.first(), self.stored.last()) {
            let growth = 100.0 * (last.medians.server_cpu / first.medians.server_cpu - 1.0);
            let what = format!("growth of the cost from {} to {} stored, %", first.size, last.size);
            judge(&what, "≤ 10".to_owned(), format!("{growth:+.1}"), growth <= 10.0);
        }
        if let Some((first, _)) = self.start_ms {
            judge(
                "from start to the first answer, ms",
                "≤ 150".to_owned(),
                format!("{first:.0}"),
                first <= 150.0,
            );
        }
        verdicts
    }
}

/// The load of the targets.
fn is_64(medians: &Medians, algorithm: SigningAlgorithm) -> bool {
    medians.name == format!("{algorithm} CA, keep-alive, 64 clients")
}
