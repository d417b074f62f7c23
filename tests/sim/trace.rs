//! What happened in a run, for people: kept only where somebody will read it.
use sluice_wire::pg::frontend;

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

/// The client whose statement has this name.
pub(crate) fn owner_of(id: &str) -> usize {
    let digits = |text: &str| text.find('.').and_then(|end| text[..end].parse().ok());
    id.match_indices('c').find_map(|(at, _)| digits(&id[at + 1..])).expect("every statement has a marker")
}

/// Messages to a server, for the trace.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|&b| if (32..127).contains(&b) { b as char } else { '.' }).collect();
    if bytes == frontend_terminate() { "Terminate".to_owned() } else { text }
}

fn frontend_terminate() -> Vec<u8> {
    let mut bytes = Vec::new();
    frontend::terminate(&mut bytes);
    bytes
}
