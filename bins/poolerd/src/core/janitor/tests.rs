use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::*;
use crate::config::{self, Overrides};
use crate::core::{Address, Seeds};

#[test]
fn an_overtaken_timer_leaves_none_behind() {
    let text = "[databases]\n[pgbouncer]\nauth_type = trust\nclient_login_timeout = 60\n";
    let snapshot = config::parse(Path::new("test.ini"), text, &Overrides::default()).unwrap();
    let now = Instant::now();
    let seeds = Seeds {
        epoch: (now, SystemTime::UNIX_EPOCH),
        random: [7; 32],
        uid: 1000,
        local_text: |_| String::new(),
    };
    let mut core = Core::new(Arc::new(snapshot), seeds);
    let address = Address::Tcp(([127, 0, 0, 1], 6432).into());
    let id = core.client_connected(address, address, now);
    let pending = core.timers.len();
    for second in 1..10 {
        let at = now + Duration::from_secs(second);
        core.timers.schedule(at, Tick::Client(id));
        core.handle_timeout(at);
        assert_eq!(core.timers.len(), pending, "after {second} s");
    }
    core.handle_timeout(now + Duration::from_secs(60));
    assert_eq!(core.clients.len(), 0, "the one that counts still fires");
}
