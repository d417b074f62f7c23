//! The control socket: request lines become commands of the gateway, its gate or the program, and facts become rows.
//!
//! Whoever may open the socket may look; what changes something is for root and our own user, and the log tells who did.

use std::time::{Instant, SystemTime};

use serde_json::Value;
use sluice_unix::control::{self as socket, Desk};
use sluice_unix::log::rfc3339;
use sluice_unix::privs;
use sluice_unix::slab::Key;
use sluice_wire::control::{Reply, Request, Row, row};

use crate::gate::{Gate, Privilege, Verb};
use crate::machine::Gateway;

/// Commands of every gateway; its gate has more.
pub const VERBS: &[Verb] = &[
    verb("show status", "", Privilege::Any, "The state of the process."),
    verb("show routes", "", Privilege::Any, "Routes and what they take."),
    verb("show origins", "", Privilege::Any, "Origins, their state and load."),
    verb("show conns", "", Privilege::Any, "Client connections and what they are busy with."),
    verb("show config", "", Privilege::Any, "Settings, their values and where they come from."),
    verb("show metrics", "", Privilege::Any, "Metrics as text, in rows with one line each."),
    verb("watch", "", Privilege::Any, "A snapshot, then changes, and heartbeats."),
    verb("drain", "", Privilege::Owner, "Finish what is there and end, as SIGTERM does."),
    verb("reload", "", Privilege::Owner, "Read the configuration anew, as SIGHUP does."),
];

const fn verb(name: &'static str, arguments: &'static str, privilege: Privilege, doc: &'static str) -> Verb {
    Verb { name, arguments, privilege, doc }
}

/// What the control socket wants of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Drain,
    /// The outcome is to be told to this one.
    Reload(Key),
}

/// What commands may look at besides the gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) config: &'a [Row],
    pub(super) log_dropped: u64,
}

/// Carries out the next request. `None`: there is none. The text is for the log: who changed what.
pub(super) fn serve<G: Gate>(
    desk: &mut Desk,
    gateway: &mut Gateway<G>,
    facts: Facts<'_>,
    now: Instant,
) -> Option<(Option<Wish>, Option<String>)> {
    match desk.next_event()? {
        socket::Event::Line(key, line) => Some(match request(desk, gateway, facts, key, &line, now) {
            Ok(done) => done,
            Err(text) => {
                desk.end(key, &Reply::Error(text));
                (None, None)
            }
        }),
        socket::Event::Gone(_) => Some((None, None)),
    }
}

fn request<G: Gate>(
    desk: &mut Desk,
    gateway: &mut Gateway<G>,
    facts: Facts<'_>,
    key: Key,
    line: &[u8],
    now: Instant,
) -> Result<(Option<Wish>, Option<String>), String> {
    let request = Request::parse(line).map_err(|error| error.to_string())?;
    if let Some(name) = request.args.keys().next() {
        return Err(format!("unknown key \"{name}\""));
    }
    let words: Vec<&str> = request.cmd.split_ascii_whitespace().collect();
    let Some((verb, arguments)) = find(VERBS, &words).or_else(|| find(G::VERBS, &words)) else {
        return Err(format!("unknown command \"{}\"", request.cmd.trim()));
    };
    let uid = desk.credentials(key).map(|peer| peer.uid);
    if verb.privilege == Privilege::Owner && !uid.is_some_and(|uid| uid == 0 || uid == privs::user_id()) {
        return Err("not allowed".to_owned());
    }
    if verb.arguments.is_empty() && !arguments.is_empty() {
        return Err(format!("\"{}\" takes no arguments", verb.name));
    }
    let done = (verb.privilege == Privilege::Owner)
        .then(|| format!("uid {}: {}", uid.map_or(-1, i64::from), request.cmd.trim()));
    match verb.name {
        "watch" => desk.watch(key, gateway.gate().snapshot(now).into_iter()),
        "drain" => {
            desk.end(key, &Reply::Ok);
            return Ok((Some(Wish::Drain), done));
        }
        "reload" => return Ok((Some(Wish::Reload(key)), done)),
        name => desk.answer(key, answer(gateway, verb, name, arguments, facts, now)?.into_iter()),
    }
    Ok((None, done))
}

/// Tells the watchers of a change, and when it was, unless the row says so itself.
pub(super) fn publish(desk: &mut Desk, mut row: Row) {
    row.entry("ts").or_insert_with(|| Value::from(rfc3339(SystemTime::now())));
    desk.publish(&row);
}

/// The verb that `words` begin with, and the rest.
fn find<'a, 'w>(verbs: &'static [Verb], words: &'a [&'w str]) -> Option<(&'static Verb, &'a [&'w str])> {
    verbs.iter().find_map(|verb| {
        let name: Vec<&str> = verb.name.split(' ').collect();
        let given = words.get(..name.len())?;
        let same = given.iter().zip(&name).all(|(given, name)| given.eq_ignore_ascii_case(name));
        same.then(|| (verb, &words[name.len()..]))
    })
}

fn answer<G: Gate>(
    gateway: &mut Gateway<G>,
    verb: &Verb,
    name: &str,
    arguments: &[&str],
    facts: Facts<'_>,
    now: Instant,
) -> Result<Vec<Row>, String> {
    Ok(match name {
        "show status" => vec![gateway.show_status()],
        "show routes" => gateway.show_routes(),
        "show origins" => gateway.show_origins(now),
        "show conns" => gateway.show_conns(now),
        "show config" => facts.config.to_vec(),
        "show metrics" => {
            let text = gateway.metrics(facts.log_dropped, now);
            text.lines().map(|line| row([("line", Value::from(line))])).collect()
        }
        _ => return gateway.with_gate(|gate| gate.command(verb, arguments, now), now),
    })
}
