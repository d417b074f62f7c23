//! Rows 17, 19, 20, 25 and 26 of the checklist: what may come next on a connection.

use sluice_check::exhaustive;

use super::super::connection::Persistence::{Close, KeepAlive};
use super::super::exchange::{Act, ClientState, Content, Exchange, Misstep, Next, ServerState, Wish};

const GET: Act = Act::Request { content: Content::None, wish: Wish::Nothing, persistence: KeepAlive };
const LAST_GET: Act = Act::Request { content: Content::None, wish: Wish::Nothing, persistence: Close };
const POST: Act = Act::Request { content: Content::Follows, wish: Wish::Nothing, persistence: KeepAlive };
const EXPECTING: Act =
    Act::Request { content: Content::Follows, wish: Wish::Continue, persistence: KeepAlive };
const OFFERING: Act = Act::Request { content: Content::None, wish: Wish::Switch, persistence: KeepAlive };
const EMPTY: Act = Act::Final { content: Content::None, persistence: KeepAlive };
const LAST: Act = Act::Final { content: Content::None, persistence: Close };
const OK: Act = Act::Final { content: Content::Follows, persistence: KeepAlive };
const UNTIL_CLOSE: Act = Act::Final { content: Content::UntilClose, persistence: KeepAlive };
const REFUSAL: Act = Act::Refusal { content: Content::None };

/// Every act there is, in each of its forms that differ.
const ACTS: [Act; 19] = [
    GET,
    LAST_GET,
    POST,
    EXPECTING,
    OFFERING,
    Act::RequestContent,
    Act::RequestEnd,
    Act::ClientClosed,
    Act::Continue,
    Act::Interim,
    Act::Switch,
    EMPTY,
    LAST,
    OK,
    UNTIL_CLOSE,
    REFUSAL,
    Act::Refusal { content: Content::Follows },
    Act::ResponseEnd,
    Act::ServerClosed,
];

/// A connection after these acts, all of which must be good.
fn after(acts: &[Act]) -> Exchange {
    let mut exchange = Exchange::new(2);
    for (number, act) in acts.iter().enumerate() {
        assert_eq!(exchange.on(*act), Ok(()), "act {number} of {acts:?}");
    }
    exchange
}

/// What the last of these acts is answered.
fn misstep(acts: &[Act]) -> Misstep {
    let (last, first) = acts.split_last().unwrap();
    let mut exchange = after(first);
    let before = exchange;
    let misstep = exchange.on(*last).unwrap_err();
    assert_eq!(exchange, before, "a misstep changes nothing");
    misstep
}

#[test]
fn row_25_one_final_answer_a_request() {
    assert_eq!(after(&[]).next(), Next::Request);
    for acts in [
        &[GET, EMPTY][..],
        &[GET, OK, Act::ResponseEnd],
        &[POST, Act::RequestEnd, EMPTY],
        &[GET, Act::Interim, Act::Continue, EMPTY],
    ] {
        let exchange = after(acts);
        assert_eq!(
            (exchange.next(), exchange.client(), exchange.server()),
            (Next::Request, ClientState::Idle, ServerState::Idle)
        );
        after(&[acts, &[GET]].concat());
        assert_eq!(misstep(&[acts, &[EMPTY]].concat()), Misstep::Unasked, "two answers");
        assert_eq!(misstep(&[acts, &[Act::Interim]].concat()), Misstep::Unasked);
    }
    for acts in [&[GET][..], &[POST], &[POST, Act::RequestEnd], &[GET, OK], &[OFFERING], &[GET, Act::Interim]]
    {
        assert_eq!(after(acts).next(), Next::Busy);
        assert_eq!(misstep(&[acts, &[GET]].concat()), Misstep::OutOfTurn, "{acts:?}");
    }
}

#[test]
fn row_17_nothing_is_said_before_a_request() {
    for act in [EMPTY, LAST, OK, UNTIL_CLOSE, Act::Interim, Act::Continue, Act::Switch, Act::ResponseEnd] {
        assert_eq!(misstep(&[act]), Misstep::Unasked, "{act:?}");
    }
}

#[test]
fn row_19_messages_that_are_cut() {
    for acts in [&[GET][..], &[POST], &[GET, OK], &[GET, Act::Interim]] {
        assert_eq!(misstep(&[acts, &[Act::ServerClosed]].concat()), Misstep::Truncated, "{acts:?}");
    }
    assert_eq!(misstep(&[POST, Act::ClientClosed]), Misstep::Truncated);
    assert_eq!(after(&[GET, UNTIL_CLOSE, Act::ServerClosed]).next(), Next::Close);
    assert_eq!(after(&[Act::ServerClosed]).next(), Next::Close);
    assert_eq!(after(&[Act::ClientClosed]).next(), Next::Close);
}

#[test]
fn a_client_that_ends_its_direction_is_still_answered() {
    let exchange = after(&[GET, Act::ClientClosed]);
    assert_eq!((exchange.next(), exchange.persistence()), (Next::Busy, Close));
    assert_eq!(after(&[GET, Act::ClientClosed, OK, Act::ResponseEnd]).next(), Next::Close);
    assert_eq!(misstep(&[GET, Act::ClientClosed, EMPTY, GET]), Misstep::OutOfTurn);
}

#[test]
fn row_26_the_last_exchange() {
    for acts in [&[LAST_GET, EMPTY][..], &[GET, LAST], &[LAST_GET, LAST], &[REFUSAL], &[GET, REFUSAL]] {
        let exchange = after(acts);
        assert_eq!((exchange.next(), exchange.persistence()), (Next::Close, Close), "{acts:?}");
        assert_eq!(misstep(&[acts, &[GET]].concat()), Misstep::OutOfTurn, "{acts:?}");
    }
    let mut draining = after(&[GET]);
    draining.end_after_this();
    assert_eq!(draining.persistence(), Close);
    draining.on(EMPTY).unwrap();
    assert_eq!(draining.next(), Next::Close);
    let mut idle = after(&[]);
    idle.end_after_this();
    assert_eq!(idle.next(), Next::Close);
}

#[test]
fn an_early_response_drains_or_closes() {
    let early = after(&[POST, EMPTY]);
    assert_eq!((early.next(), early.client()), (Next::Drain, ClientState::Sending));
    assert_eq!(after(&[POST, EMPTY, Act::RequestContent]).next(), Next::Drain);
    assert_eq!(after(&[POST, EMPTY, Act::RequestEnd]).next(), Next::Request);
    assert_eq!(after(&[POST, OK]).next(), Next::Busy);
    assert_eq!(after(&[POST, LAST]).next(), Next::Close);
    assert_eq!(misstep(&[POST, EMPTY, GET]), Misstep::OutOfTurn);
}

#[test]
fn clients_that_wait_to_go_on() {
    let waiting = after(&[EXPECTING]);
    assert!(waiting.awaits_continue());
    assert_eq!(waiting.persistence(), Close, "as long as nobody knows whether content will come");
    let told = after(&[EXPECTING, Act::Continue]);
    assert_eq!((told.awaits_continue(), told.persistence()), (false, KeepAlive));
    let hinted = after(&[EXPECTING, Act::Interim]);
    assert!(hinted.awaits_continue(), "103 does not tell it to go on");
    let impatient = after(&[EXPECTING, Act::RequestContent]);
    assert_eq!((impatient.awaits_continue(), impatient.persistence()), (false, KeepAlive));
    let refused = after(&[EXPECTING, EMPTY]);
    assert_eq!((refused.next(), refused.persistence()), (Next::Close, Close));
    assert!(!after(&[POST]).awaits_continue());
}

#[test]
fn switching_needs_an_offer() {
    let switched = after(&[OFFERING, Act::Switch]);
    assert_eq!(
        (switched.next(), switched.client(), switched.server()),
        (Next::Tunnel, ClientState::Switched, ServerState::Switched)
    );
    for act in [GET, EMPTY, Act::Interim, Act::Switch, Act::RequestContent, Act::ResponseEnd] {
        let misstep = misstep(&[OFFERING, Act::Switch, act]);
        assert!(matches!(misstep, Misstep::Unasked | Misstep::OutOfTurn), "{act:?}");
    }
    assert_eq!(after(&[OFFERING, Act::Switch, Act::ClientClosed, Act::ServerClosed]).next(), Next::Tunnel);
    assert_eq!(misstep(&[GET, Act::Switch]), Misstep::Unasked);
    assert_eq!(misstep(&[POST, Act::Switch]), Misstep::Unasked);
    assert_eq!(misstep(&[OFFERING, EMPTY, Act::Switch]), Misstep::Unasked);
    assert_eq!(after(&[OFFERING, EMPTY]).next(), Next::Request, "not accepted");
    after(&[OFFERING, Act::Interim, Act::Switch]);
}

#[test]
fn interim_responses_at_and_beyond_the_limit() {
    after(&[GET, Act::Interim, Act::Continue, EMPTY]);
    assert_eq!(misstep(&[GET, Act::Interim, Act::Continue, Act::Interim]), Misstep::InterimMany);
    after(&[GET, Act::Interim, Act::Interim, EMPTY, GET, Act::Interim, Act::Interim, EMPTY]);
}

/// What must hold in every state that can be reached.
#[test]
fn all_short_sequences_of_acts() {
    for acts in exhaustive(&ACTS, 4) {
        let mut exchange = Exchange::new(2);
        let (mut asked, mut answered, mut over) = (0, 0, false);
        for act in &acts {
            let before = exchange;
            match exchange.on(*act) {
                Err(_) => assert_eq!(exchange, before, "{acts:?}"),
                Ok(()) => {
                    let is_request = matches!(act, Act::Request { .. });
                    assert!(!is_request || !over, "a request after the last: {acts:?}");
                    asked += usize::from(is_request);
                    answered += usize::from(matches!(act, Act::Final { .. } | Act::Switch));
                    over |= exchange.persistence() == Close && exchange.next() != Next::Busy;
                }
            }
            assert!(answered <= asked, "more answers than requests: {acts:?}");
            assert!(asked <= answered + 1, "a request before an answer: {acts:?}");
            if exchange.next() == Next::Request {
                assert_eq!((exchange.client(), exchange.server()), (ClientState::Idle, ServerState::Idle));
            }
        }
    }
}
