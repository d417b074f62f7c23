//! What happened in a run, for people: kept only where somebody will read it.

#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Keeps every line.
    pub(crate) fn kept() -> Self {
        Trace { lines: Some(Vec::new()) }
    }

    pub(crate) fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let text = text();
            lines.push(text);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
