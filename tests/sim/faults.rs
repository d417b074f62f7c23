//! What goes wrong, and ends.

use std::time::Duration;

use sluice_wire::pg::{backend, error, frontend, sqlstate::SqlState};

use crate::client::{Client, Stage};
use crate::world::World;

/// Perhaps something goes wrong in this turn.
pub(crate) fn maybe(world: &mut World) {
    let faults = world.plan.faults;
    let mut hit = |chance: usize| chance > 0 && world.rng.chance(chance, 10_000);
    let [gone, left, cancels, kills, chats, sticks, reloads, jumps, commands, rubbish] = [
        hit(faults.vanish),
        hit(faults.leave),
        hit(faults.cancel),
        hit(faults.kill),
        hit(faults.chatter),
        hit(faults.stuck),
        hit(faults.reload),
        hit(faults.jump),
        hit(faults.admin),
        hit(faults.garbage),
    ];
    if gone && let Some(at) = any_client(world) {
        vanish(world, at);
        world.add_client();
    }
    if left && let Some(at) = any_client(world) {
        leave(world, at);
        world.add_client();
    }
    if cancels {
        cancel(world);
    }
    if kills {
        kill(world);
    }
    if chats {
        chatter(world);
    }
    if sticks {
        stick(world);
    }
    if reloads {
        reload(world);
    }
    if rubbish {
        garbage(world);
    }
    if commands {
        command(world);
    }
    if jumps && let Some(at) = world.core.poll_timeout() {
        let time = at.saturating_duration_since(world.now).min(Duration::from_secs(3));
        world.trace.line(|| format!("{time:?} pass"));
        world.pass(time);
    }
}

/// From here on nothing goes wrong.
pub(crate) fn end(world: &mut World) {
    world.plan.peace = true;
    if world.plan.databases[1].is_empty() {
        reload(world);
        world.plan.databases = ["host=127.0.0.1"; 2];
        let snapshot = world.plan.snapshot();
        world.core.reload(snapshot, world.now);
        world.apply(&[]);
    }
    for text in ["RESUME", "RESUME one", "RESUME two"] {
        world.command(text);
    }
    for accepted in world.clients.values_mut() {
        accepted.port.stuck = false;
    }
    for opened in world.servers.values_mut() {
        opened.port.stuck = false;
    }
}

fn any_client(world: &mut World) -> Option<usize> {
    let here = world
        .clients
        .iter()
        .filter(|(_, c)| !c.ended && !c.port.closing && c.client.as_ref().is_some_and(Client::is_here));
    let all: Vec<usize> = here.map(|(&at, _)| at).collect();
    world.rng.pick(&all).copied()
}

/// A client leaves by Terminate; one that has left already is noticed now.
pub(crate) fn leave(world: &mut World, at: usize) {
    let Some(accepted) = world.clients.get_mut(&at) else { return };
    if accepted.ended {
        accepted.broken = true;
        world.vanished.insert(at);
        return;
    }
    if let Some(client) = &mut accepted.client {
        client.stage = Stage::Left;
    }
    world.trace.line(|| format!("client {at} leaves"));
    frontend::terminate(&mut accepted.up);
    accepted.ended = true;
    accepted.port.stuck = false;
}

/// A client is gone, perhaps in the middle of a message.
fn vanish(world: &mut World, at: usize) {
    let Some(accepted) = world.clients.get_mut(&at) else { return };
    if let Some(client) = &mut accepted.client {
        client.stage = Stage::Left;
    }
    world.vanished.insert(at);
    let left = world.rng.between(0, accepted.up.len());
    accepted.up.truncate(left);
    accepted.ended = true;
    accepted.broken = world.rng.chance(1, 2);
    accepted.port.stuck = false;
    world.trace.line(|| format!("client {at} vanishes ({left} bytes left)"));
}

/// A client says what no server understands.
fn garbage(world: &mut World) {
    let Some(at) = any_client(world) else { return };
    let choices: [&[u8]; 4] = [b"y\0\0\0\x04", b"Q\0\0\0\x03", b"S\xff\xff\xff\xff", b"\0\0\0\0\x04"];
    let bytes = choices[world.rng.below(choices.len())];
    let Some(accepted) = world.clients.get_mut(&at) else { return };
    let Some(client) = accepted.client.as_mut().filter(|c| c.stage == Stage::Ready) else { return };
    client.doomed = true;
    accepted.up.extend_from_slice(bytes);
    world.trace.line(|| format!("client {at} says {bytes:?}"));
}

/// A CancelRequest for a client, of its own making.
fn cancel(world: &mut World) {
    let Some(at) = any_client(world) else { return };
    let Some(client) = world.clients.get_mut(&at).and_then(|c| c.client.as_mut()) else { return };
    let Some((pid, secret)) = client.key.clone() else { return };
    client.cancels_asked += 1;
    world.trace.line(|| format!("cancel for client {at}"));
    let mut bytes = Vec::new();
    frontend::cancel_request(&mut bytes, pid, &secret);
    let asker = world.accept(None, bytes);
    if let Some(accepted) = world.clients.get_mut(&asker) {
        accepted.ended = world.rng.chance(1, 4);
    }
}

fn any_server(world: &mut World) -> Option<usize> {
    let open = world.servers.iter().filter(|(_, s)| s.server.is_some() && !s.port.closing);
    let all: Vec<usize> = open.map(|(&at, _)| at).collect();
    world.rng.pick(&all).copied()
}

/// A server process ends, with or without a word.
fn kill(world: &mut World) {
    let Some(at) = any_server(world) else { return };
    let silent = world.rng.chance(1, 2);
    let Some(server) = world.servers.get_mut(&at).and_then(|s| s.server.as_mut()) else { return };
    if server.is_over() {
        return;
    }
    world.kills += 1;
    world.trace.line(|| format!("server {at} dies"));
    if silent || !server.is_logged_in() {
        let left = world.rng.between(0, server.session.out.len());
        server.session.out.truncate(left);
        server.session.end();
    } else {
        server.session.terminate(b"57P01", "terminating connection due to plan");
    }
}

/// A server says what nobody asked for.
fn chatter(world: &mut World) {
    let Some(at) = any_server(world) else { return };
    let notice = world.rng.chance(1, 2);
    let Some(server) = world.servers.get_mut(&at).and_then(|s| s.server.as_mut()) else { return };
    if !server.is_logged_in() || server.is_over() {
        return;
    }
    let out = &mut server.session.out;
    if notice {
        error::ErrorResponse::new(error::Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, "by the way")
            .write_notice(out);
    } else {
        let body = b"\0\0\0\x07channel\0payload\0";
        out.push(backend::NOTIFICATION_RESPONSE);
        out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
    }
}

/// Somebody stops or starts reading.
fn stick(world: &mut World) {
    if world.rng.chance(1, 2) {
        let all: Vec<usize> = world.clients.keys().copied().collect();
        let Some(at) = world.rng.pick(&all) else { return };
        if let Some(c) = world.clients.get_mut(at) {
            c.port.stuck = !c.port.stuck && !c.port.closing && !c.ended;
        }
    } else {
        let all: Vec<usize> = world.servers.keys().copied().collect();
        let Some(at) = world.rng.pick(&all) else { return };
        if let Some(s) = world.servers.get_mut(at) {
            s.port.stuck = !s.port.stuck && !s.port.closing;
        }
    }
}

/// Somebody is at the console.
fn command(world: &mut World) {
    let number = world.rng.between(1, world.serial);
    let text = match world.rng.below(9) {
        0 => "PAUSE".to_owned(),
        1 => "PAUSE one".to_owned(),
        2..=4 => "RESUME".to_owned(),
        5 => "RESUME one".to_owned(),
        6 => "RECONNECT".to_owned(),
        7 => "KILL two".to_owned(),
        _ => format!("KILL_CLIENT {number}"),
    };
    world.command(&text);
}

/// Other sizes are in force.
fn reload(world: &mut World) {
    let limits = &mut world.plan.limits;
    limits.pool = world.rng.between(1, 3);
    limits.reserve = world.rng.below(2);
    let hosts = ["host=127.0.0.1", "host=127.0.0.1 dbname=uno", "host=127.0.0.2", ""];
    world.plan.databases = [hosts[world.rng.below(3)], hosts[[0, 0, 1, 3][world.rng.below(4)]]];
    world.trace.line(|| format!("reload with {limits:?}"));
    let snapshot = world.plan.snapshot();
    world.core.reload(snapshot, world.now);
    world.apply(&[]);
}
