//! What was measured: a table for people, JSON for programs.

use std::{fs, path::Path, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value as Json, json};

use crate::{Outcome, sample::Samples};

/// A measured value. What is compared is of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Time(Duration),
    Bytes(u64),
    Ratio(f64),
}

impl Value {
    /// Seconds, bytes, or the ratio.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2⁵³ bytes")]
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(bytes) => bytes as f64,
            Self::Ratio(ratio) => ratio,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Ratio(ratio) => format!("{ratio:.2} ×"),
            Self::Bytes(_) => format!("{:.2} MB", self.number() / 1e6),
            Self::Time(_) => match self.number() {
                n if n < 1e-3 => format!("{:.1} µs", n * 1e6),
                n if n < 1.0 => format!("{:.2} ms", n * 1e3),
                n => format!("{n:.2} s"),
            },
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    operation: String,
    members: Option<usize>,
    value: Value,
    samples: usize,
    raw: Option<Value>,
    bar: Option<Value>,
}

impl Row {
    pub(crate) fn new(operation: impl Into<String>, value: Value) -> Self {
        Self { operation: operation.into(), members: None, value, samples: 1, raw: None, bar: None }
    }

    /// The median of these, each of which did the thing `per_sample` times.
    pub(crate) fn median(operation: impl Into<String>, samples: &Samples, per_sample: u32) -> Self {
        let row = Self::new(operation, Value::Time(samples.median() / per_sample));
        Self { samples: samples.count(), ..row }
    }

    /// In a group of so many.
    pub(crate) fn members(self, members: usize) -> Self {
        Self { members: Some(members), ..self }
    }

    /// The same on the MLS library alone.
    pub(crate) fn raw(self, raw: Duration) -> Self {
        Self { raw: Some(Value::Time(raw)), ..self }
    }

    /// What it must not exceed.
    pub(crate) fn at_most(self, bar: Value) -> Self {
        Self { bar: Some(bar), ..self }
    }

    fn is_met(&self) -> Option<bool> {
        self.bar.map(|bar| self.value.number() <= bar.number())
    }

    fn cells(&self) -> [String; 8] {
        let text = |value: Option<Value>| value.map(Value::text).unwrap_or_default();
        let share = |of: Option<Value>| {
            of.map(|of| format!("{:.2}", self.value.number() / of.number())).unwrap_or_default()
        };
        let verdict = match self.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        [
            self.operation.clone(),
            self.members.map(|members| members.to_string()).unwrap_or_default(),
            self.value.text(),
            text(self.raw),
            share(self.raw),
            text(self.bar),
            share(self.bar),
            verdict.to_owned(),
        ]
    }

    fn json(&self) -> Json {
        let unit = match self.value {
            Value::Time(_) => "s",
            Value::Bytes(_) => "B",
            Value::Ratio(_) => "1",
        };
        json!({
            "operation": self.operation,
            "members": self.members,
            "unit": unit,
            "median": self.value.number(),
            "samples": self.samples,
            "raw": self.raw.map(Value::number),
            "bar": self.bar.map(Value::number),
            "met": self.is_met(),
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn push(&mut self, row: Row) {
        note(&row.cells().join("  "));
        self.0.push(row);
    }

    #[expect(clippy::print_stdout, reason = "printing is what this program does")]
    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["operation", "members", "median", "raw mls-rs", "× raw", "bar", "× bar", ""]);
        for row in &self.0 {
            table.add_row(row.cells());
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
    }

    pub(crate) fn write(&self, file: &Path) -> Outcome<()> {
        let rows: Vec<Json> = self.0.iter().map(Row::json).collect();
        Ok(fs::write(file, serde_json::to_vec_pretty(&rows)?)?)
    }
}

/// Says how far it has come: the whole takes minutes.
#[expect(clippy::print_stderr, reason = "printing is what this program does")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
