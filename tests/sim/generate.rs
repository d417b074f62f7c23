//! What clients say: requests made at random, dense in what has hurt poolers before.

use sluice_check::Rng;
use sluice_wire::pg::frontend::{self, KIND_PORTAL, KIND_STATEMENT};

/// Names of statements and portals: few, so that they meet.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

/// What clients may do in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repertoire {
    pub(crate) transactions: bool,
    pub(crate) copies: bool,
    pub(crate) parameters: bool,
    pub(crate) discards: bool,
    /// Statements with names.
    pub(crate) names: bool,
    /// Values and texts longer than a buffer.
    pub(crate) bulk: bool,
    /// Some do not know their password.
    pub(crate) impostors: bool,
}

/// A request as bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// For the trace: one letter a message, or the text of a Query.
    pub(crate) shown: String,
    /// Nothing may be sent behind it before it is answered.
    pub(crate) alone: bool,
}

/// Makes one client's requests.
#[derive(Debug)]
pub(crate) struct Generator {
    client: usize,
    serial: usize,
    repertoire: Repertoire,
    /// Parameters of the statement each name was last given.
    parameters: [usize; NAMES.len()],
}

impl Generator {
    pub(crate) fn new(client: usize, repertoire: Repertoire) -> Self {
        Generator { client, serial: 0, repertoire, parameters: [0; NAMES.len()] }
    }

    fn marker(&mut self) -> String {
        self.serial += 1;
        format!("c{}.{}", self.client, self.serial)
    }

    fn name(&self, rng: &mut Rng) -> usize {
        if self.repertoire.names { rng.below(NAMES.len()) } else { 0 }
    }

    /// Ends whatever is open.
    pub(crate) fn ending(&mut self, in_copy: bool) -> Request {
        let mut request = Request::default();
        if in_copy {
            request.copy_done();
        }
        request.sync();
        request.query("rollback");
        request
    }

    /// The next request of a client that waits for nothing, or pipelines.
    pub(crate) fn request(&mut self, rng: &mut Rng) -> Request {
        let mut request = Request::default();
        let transactions = self.repertoire.transactions;
        match rng.below(22) {
            0..=2 => self.simple(rng, &mut request),
            3 if transactions => request.query("begin"),
            4 if transactions => request.query(["commit", "rollback"][rng.below(2)]),
            5..=9 => self.usual(rng, &mut request),
            10..=14 => self.unusual(rng, &mut request),
            15 => {
                let marker = self.marker();
                let text = if rng.chance(1, 4) { format!("fail {marker}") } else { marker };
                request.function_call(&text);
            }
            16 if self.repertoire.copies => self.copy_in(rng, &mut request),
            17 if self.repertoire.copies => {
                let marker = self.marker();
                request.query(&format!("copyout {} {marker}", rng.below(4)));
            }
            18 if self.repertoire.parameters => self.parameter(rng, &mut request),
            19 if self.repertoire.discards => {
                let text = ["discard all", "deallocate all"][rng.below(2)];
                if rng.chance(1, 2) {
                    request.query(text);
                } else {
                    request.parse("", text);
                    self.parameters[0] = 0;
                    request.bind("", "", &[]);
                    request.execute("", 0);
                    request.sync();
                }
                request.alone = true;
            }
            20 if rng.chance(1, 3) => request.stray(rng),
            21 => request.query(["", " ; "][rng.below(2)]),
            _ => self.simple(rng, &mut request),
        }
        request
    }

    fn statement(&mut self, rng: &mut Rng) -> String {
        let marker = self.marker();
        match rng.below(10) {
            0 => format!("fail {marker}"),
            1 => format!("rows {} {marker}", rng.below(4)),
            2 | 3 => format!("insert {marker}"),
            4 if rng.chance(1, 2) => format!("selekt {marker}"),
            6 if self.repertoire.bulk && rng.chance(1, 5) => {
                format!("rows 2 {marker} {}", "y".repeat(rng.between(1, 20_000)))
            }
            5 if self.repertoire.parameters => "show application_name".to_owned(),
            _ => format!("select {marker}"),
        }
    }

    fn simple(&mut self, rng: &mut Rng, request: &mut Request) {
        let count = if rng.chance(1, 4) { rng.between(2, 3) } else { 1 };
        let mut texts: Vec<String> = (0..count).map(|_| self.statement(rng)).collect();
        if self.repertoire.transactions && rng.chance(1, 10) {
            let at = rng.below(texts.len() + 1);
            texts.insert(at, ["begin", "commit", "rollback"][rng.below(3)].to_owned());
        }
        request.query(&texts.join(";"));
    }

    fn parameter(&mut self, rng: &mut Rng, request: &mut Request) {
        let value = format!("v{}", rng.below(3));
        let text = match rng.below(5) {
            0 => format!("set application_name='{value}'"),
            1 => format!("set timezone='{value}'"),
            2 => format!("set client_encoding='{value}'"),
            3 => "set datestyle='bad'".to_owned(),
            _ => "show timezone;show application_name;show client_encoding".to_owned(),
        };
        request.query(&text);
    }

    /// A text to prepare, and how many parameters it takes. Most are shared by all clients under various names.
    fn definition(&mut self, rng: &mut Rng) -> (String, usize) {
        let shared = rng.below(3);
        match rng.below(14) {
            0 => (format!("fail shared{shared} $1"), 1),
            1 | 2 => (format!("rows 3 shared{shared} $1"), 1),
            3 => (format!("insert shared{shared} $1"), 1),
            4 => (format!("select {} $1", self.marker()), 1),
            5 => ("selekt".to_owned(), 0),
            6 => (String::new(), 0),
            7 if self.repertoire.transactions => {
                (["begin", "commit", "rollback"][rng.below(3)].to_owned(), 0)
            }
            8 if self.repertoire.parameters => (format!("set application_name='p{shared}'"), 0),
            9 if self.repertoire.parameters => ("show application_name".to_owned(), 0),
            10 if rng.chance(1, 3) => ("select 1;select 2".to_owned(), 0),
            _ => (format!("select shared{shared} $1"), 1),
        }
    }

    fn parse(&mut self, rng: &mut Rng, name: usize, request: &mut Request) {
        let (text, parameters) = self.definition(rng);
        self.parameters[name] = parameters;
        request.parse(NAMES[name], &text);
    }

    fn bind(&mut self, rng: &mut Rng, portal: &str, name: usize, request: &mut Request) {
        let count = if rng.chance(1, 20) { rng.below(3) } else { self.parameters[name] };
        let values: Vec<String> = (0..count).map(|_| self.value(rng)).collect();
        request.bind(portal, NAMES[name], &values);
    }

    /// A parameter: a marker, now and then with a long tail.
    fn value(&mut self, rng: &mut Rng) -> String {
        let marker = self.marker();
        let bulk = self.repertoire.bulk && rng.chance(1, 30);
        if bulk { format!("{marker}.{}", "x".repeat(rng.between(1, 40_000))) } else { marker }
    }

    /// What drivers do: prepare once, bind and execute often.
    fn usual(&mut self, rng: &mut Rng, request: &mut Request) {
        let name = self.name(rng);
        for _ in 0..rng.between(1, 3) {
            if rng.chance(1, 6) {
                request.close(KIND_STATEMENT, NAMES[name]);
            }
            if name == 0 && rng.chance(2, 3) || rng.chance(1, 4) {
                self.parse(rng, name, request);
            }
            if rng.chance(1, 4) {
                request.describe(KIND_STATEMENT, NAMES[name]);
            }
            if rng.chance(5, 6) {
                self.bind(rng, "", name, request);
                if rng.chance(1, 3) {
                    request.describe(KIND_PORTAL, "");
                }
                request.execute("", if rng.chance(1, 5) { 2 } else { 0 });
            }
            if rng.chance(1, 2) {
                request.sync();
            }
        }
        request.sync();
    }

    /// Messages in any order.
    fn unusual(&mut self, rng: &mut Rng, request: &mut Request) {
        for _ in 0..rng.between(1, 6) {
            let name = self.name(rng);
            let portal = ["", "", "p"][rng.below(3)];
            match rng.below(12) {
                0..=2 => self.parse(rng, name, request),
                3..=5 => self.bind(rng, portal, name, request),
                6 => request.describe(KIND_STATEMENT, NAMES[name]),
                7 => request.describe(KIND_PORTAL, portal),
                8 => request.execute(portal, rng.below(3) as i32),
                9 if rng.chance(1, 3) => request.close(KIND_PORTAL, portal),
                9 => request.close(KIND_STATEMENT, NAMES[name]),
                10 if rng.chance(1, 2) => request.flush(),
                10 => self.simple(rng, request),
                _ => request.sync(),
            }
        }
        if rng.chance(7, 8) {
            request.sync();
        } else {
            request.flush();
        }
    }

    fn copy_in(&mut self, rng: &mut Rng, request: &mut Request) {
        let marker = self.marker();
        let extended = rng.chance(1, 3);
        if extended {
            request.parse("", &format!("copyin {marker}"));
            self.parameters[0] = 0;
            request.bind("", "", &[]);
            request.execute("", 0);
            if rng.chance(1, 2) {
                // As libpq does: the server passes over it while it reads copy data.
                request.sync();
            }
        } else {
            let before = if rng.chance(1, 4) { format!("fail {marker};") } else { String::new() };
            request.query(&format!("{before}copyin {marker}"));
        }
        for _ in 0..rng.below(4) {
            let data = if rng.chance(1, 12) { "bad".to_owned() } else { self.value(rng) };
            request.message(frontend::COPY_DATA, data.as_bytes(), "d");
        }
        if rng.chance(1, 5) {
            request.message(frontend::COPY_FAIL, b"no more\0", "f");
        } else {
            request.copy_done();
        }
        if extended {
            request.parse("", "select shared0 $1");
            self.parameters[0] = 1;
            request.sync();
        }
    }
}

impl Request {
    fn message(&mut self, tag: u8, body: &[u8], shown: &str) {
        self.bytes.push(tag);
        self.bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        self.bytes.extend_from_slice(body);
        self.show(shown);
    }

    fn show(&mut self, text: &str) {
        if !self.shown.is_empty() {
            self.shown.push(' ');
        }
        self.shown.push_str(text);
    }

    pub(crate) fn query(&mut self, sql: &str) {
        frontend::query(&mut self.bytes, sql.as_bytes());
        self.show(&format!("Q({})", brief(sql)));
    }

    pub(crate) fn parse(&mut self, name: &str, sql: &str) {
        frontend::parse(&mut self.bytes, name.as_bytes(), &[sql.as_bytes(), b"\0\0\0"].concat());
        self.show(&format!("P[{name}]({sql})"));
    }

    pub(crate) fn bind(&mut self, portal: &str, statement: &str, values: &[String]) {
        let mut tail = vec![0, 0];
        tail.extend_from_slice(&(values.len() as u16).to_be_bytes());
        for value in values {
            tail.extend_from_slice(&(value.len() as u32).to_be_bytes());
            tail.extend_from_slice(value.as_bytes());
        }
        tail.extend_from_slice(&[0, 0]);
        frontend::bind_head(&mut self.bytes, portal.as_bytes(), statement.as_bytes(), tail.len());
        self.bytes.extend_from_slice(&tail);
        self.show(&format!("B[{portal}]<{statement}>({})", brief(&values.join(","))));
    }

    pub(crate) fn describe(&mut self, kind: u8, name: &str) {
        frontend::describe(&mut self.bytes, kind, name.as_bytes());
        self.show(&format!("D{}<{name}>", kind as char));
    }

    pub(crate) fn close(&mut self, kind: u8, name: &str) {
        frontend::close(&mut self.bytes, kind, name.as_bytes());
        self.show(&format!("C{}<{name}>", kind as char));
    }

    pub(crate) fn execute(&mut self, portal: &str, max_rows: i32) {
        frontend::execute(&mut self.bytes, portal.as_bytes(), max_rows);
        self.show(&format!("E[{portal}]{max_rows}"));
    }

    pub(crate) fn sync(&mut self) {
        frontend::sync(&mut self.bytes);
        self.show("S");
    }

    pub(crate) fn flush(&mut self) {
        frontend::flush(&mut self.bytes);
        self.show("H");
    }

    pub(crate) fn copy_done(&mut self) {
        self.message(frontend::COPY_DONE, b"", "c");
    }

    fn function_call(&mut self, text: &str) {
        self.message(frontend::FUNCTION_CALL, text.as_bytes(), &format!("F({text})"));
    }

    /// What is left of a copy that failed, or a Flush: a server makes nothing of it.
    fn stray(&mut self, rng: &mut Rng) {
        match rng.below(4) {
            0 => self.message(frontend::COPY_DATA, b"late", "d"),
            1 => self.copy_done(),
            2 => self.message(frontend::COPY_FAIL, b"late\0", "f"),
            _ => self.flush(),
        }
    }
}

/// As much of a text as a trace needs.
fn brief(text: &str) -> &str {
    text.get(..200).unwrap_or(text)
}
