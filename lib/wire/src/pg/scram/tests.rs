//! The published exchange, both roles against each other, and every way to spoil an exchange.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

const NONCE: &[u8; NONCE_LEN] = b"0123456789abcdefgh";
const OTHER_NONCE: &[u8; NONCE_LEN] = b"hgfedcba9876543210";

// RFC 7677 section 3: user "user", password "pencil".
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn secret(password: &[u8]) -> ScramSecret {
    let salt = b"a salt".to_vec();
    ScramSecret::new(&derive(password, &salt, 2), salt, 2)
}

fn continued(step: Result<ServerStep, ScramError>) -> Vec<u8> {
    match step {
        Ok(ServerStep::Continue(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn done(step: Result<ServerStep, ScramError>) -> (Vec<u8>, [u8; 32]) {
    match step {
        Ok(ServerStep::Done { server_final, client_key }) => (server_final, client_key),
        other => panic!("{other:?}"),
    }
}

/// The client-final message, with the keys derived on the spot if it takes any.
fn last(client: &mut ClientExchange, server_first: &[u8]) -> Result<Vec<u8>, ScramError> {
    match client.server_first(server_first)? {
        ClientStep::Answer(message) => Ok(message),
        ClientStep::Derive(recipe) => client.derived(recipe.derive()),
    }
}

/// Runs both roles against each other; the server's view, and the client's keys if it trusts the server.
fn run(mut server: ServerExchange, mut client: ClientExchange) -> Result<([u8; 32], Derived), ScramError> {
    let server_first = continued(server.step(&client.client_first()));
    let client_final = last(&mut client, &server_first)?;
    assert!(!client.is_verified());
    match server.step(&client_final)? {
        ServerStep::Done { server_final, client_key } => {
            client.server_final(&server_final)?;
            assert!(client.is_verified());
            Ok((client_key, client.into_derived().unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_server_role_matches_rfc_7677() {
    let salt = BASE64.decode(SALT).unwrap();
    let keys = derive(b"pencil", &salt, 4096);
    let mut server = ServerExchange::new(ScramSecret::new(&keys, salt, 4096), NONCE);
    server.set_nonce("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    assert_eq!(continued(server.step(CLIENT_FIRST.as_bytes())), SERVER_FIRST.as_bytes());
    let (server_final, client_key) = done(server.step(CLIENT_FINAL.as_bytes()));
    assert_eq!(server_final, SERVER_FINAL.as_bytes());
    assert_eq!(client_key, keys.client_key);
    assert_eq!(server.step(CLIENT_FINAL.as_bytes()), Err(ScramError::OutOfOrder));
}

#[test]
fn the_client_role_matches_rfc_7677_but_for_the_user_it_does_not_name() {
    // Computed with another implementation from the RFC's values and an empty user name.
    const PROOF: &str = "qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k=";
    const SIGNATURE: &[u8] = b"v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg=";
    let mut client = ClientExchange::with_password(b"pencil", None, NONCE);
    client.set_nonce("rOprNGfwEbeRWgbNEkqO");
    assert_eq!(client.client_first(), b"n,,n=,r=rOprNGfwEbeRWgbNEkqO");
    let client_final = last(&mut client, SERVER_FIRST.as_bytes()).unwrap();
    assert!(client_final.ends_with(PROOF.as_bytes()));
    assert_eq!(client.server_final(SIGNATURE), Ok(()));
    assert_eq!(client.server_final(SIGNATURE), Err(ScramError::OutOfOrder));
}

#[test]
fn a_stored_secret_has_postgresqls_form() {
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let salt = BASE64.decode(SALT).unwrap();
    let secret = ScramSecret::new(&derive(b"pencil", &salt, 4096), salt, 4096);
    assert_eq!(secret.to_text(), text);
    assert_eq!(Secret::parse(text.as_bytes()), Secret::Scram(secret));
}

#[test]
fn passwords_are_prepared_as_postgresql_does() {
    // Expected: the stored key for the bytes on the right, computed with another implementation.
    let cases: [(&[u8], &str); 5] = [
        ("I\u{ad}X".as_bytes(), "bmjmmtVhKoqdPBhFrdI1uUeTHb9rPoL3fY6+dh3tLu0="), // IX
        ("\u{aa}".as_bytes(), "dKydK+bpM5f287h3Ga4XhnXS6ILm9UGWrKHFvr6pex0="),   // a
        ("a\u{a0}b".as_bytes(), "n+MtsQjDy31ZwoGac/pVh9yYNUiwaL/Thvh0/Fghnho="), // a b
        (b"\xff", "fwCyLlaDaZw8KGUvpKGA915g/dFux2Zu2A3Ggb9/c50="),               // not UTF-8: as it is
        (b"\x07", "jW8ZvzkvjTZ/yRn1yBAWaYViAok9TZafCqFrVzscGTo="),               // prohibited: as it is
    ];
    for (password, stored_key) in cases {
        assert_eq!(BASE64.encode(derive(password, b"salt", 1).stored_key), stored_key, "{password:?}");
    }
    assert_eq!(derive(b"x", b"salt", 0), derive(b"x", b"salt", 1));
}

#[test]
fn both_roles_agree_and_keys_pass_through() {
    let stored = secret(b"pencil");
    let client = ClientExchange::with_password(b"pencil", None, OTHER_NONCE);
    let (client_key, derived) = run(ServerExchange::new(stored.clone(), NONCE), client).unwrap();

    // What the client has shown logs in elsewhere, without the password, to the same secret only.
    let shown = Derived::from_client(&stored, client_key);
    assert_eq!(shown, derived);
    let with_keys = || ClientExchange::with_keys(shown.clone(), OTHER_NONCE);
    assert!(run(ServerExchange::new(stored.clone(), NONCE), with_keys()).is_ok());
    let other_salt = ScramSecret { salt: b"another".to_vec(), ..stored.clone() };
    assert_eq!(
        run(ServerExchange::new(other_salt, NONCE), with_keys()).err(),
        Some(ScramError::KeysDoNotFit)
    );
    let other_count = ScramSecret { iterations: 3, ..stored.clone() };
    assert_eq!(
        run(ServerExchange::new(other_count, NONCE), with_keys()).err(),
        Some(ScramError::KeysDoNotFit)
    );

    // Kept keys save the derivation where they fit, and are replaced where they do not.
    let stale = Derived { salt: b"old".to_vec(), ..shown.clone() };
    let client = ClientExchange::with_password(b"pencil", Some(stale), OTHER_NONCE);
    let mut spared = ClientExchange::with_password(b"pencil", Some(shown.clone()), OTHER_NONCE);
    let server_first = continued(ServerExchange::new(stored.clone(), NONCE).step(&spared.client_first()));
    assert!(matches!(spared.server_first(&server_first), Ok(ClientStep::Answer(_))));
    assert_eq!(spared.derived(shown.clone()), Err(ScramError::OutOfOrder));
    assert_eq!(run(ServerExchange::new(stored, NONCE), client).map(|(_, derived)| derived), Ok(shown));
}

#[test]
fn a_wrong_password_and_an_unknown_user_fail_alike() {
    let client = || ClientExchange::with_password(b"pen", None, OTHER_NONCE);
    let known = run(ServerExchange::new(secret(b"pencil"), NONCE), client());
    let unknown = run(ServerExchange::mock(b"key", b"nobody", 2, NONCE), client());
    assert_eq!(known.err(), Some(ScramError::Proof));
    assert_eq!(unknown.err(), Some(ScramError::Proof));
}

#[test]
fn a_mock_shows_the_same_salt_every_time_and_to_every_user_another() {
    let first = |user: &[u8], nonce| {
        let mut exchange = ServerExchange::mock(b"key", user, 4096, nonce);
        let message = String::from_utf8(continued(exchange.step(b"n,,n=,r=abc"))).unwrap();
        message.split_once(",s=").map(|(_, salt)| salt.to_owned()).unwrap()
    };
    assert_eq!(first(b"anna", NONCE), first(b"anna", OTHER_NONCE));
    assert_ne!(first(b"anna", NONCE), first(b"otto", NONCE));
    let (salt, iterations) =
        first(b"anna", NONCE).split_once(',').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!((BASE64.decode(salt).unwrap().len(), iterations.as_str()), (SALT_LEN, "i=4096"));
}

#[test]
fn what_a_client_may_not_begin_with() {
    let cases: [(&[u8], ScramError); 17] = [
        (b"", ScramError::Malformed),
        (b"n", ScramError::Malformed),
        (b"n,", ScramError::Malformed),
        (b"n,,", ScramError::Malformed),
        (b"n,,r=abc", ScramError::Malformed),
        (b"n,,n=", ScramError::Malformed),
        (b"n,,n=,r=", ScramError::Malformed),
        (b"n,,n=,r=a b", ScramError::Malformed),
        (b"n,,n=,r=abc,", ScramError::Malformed),
        (b"n,,n=,r=abc,1=x", ScramError::Malformed),
        (b"n,,n=,r=a\0c", ScramError::Malformed),
        (b"n,,n=\xff,r=abc", ScramError::Malformed),
        (b"x,,n=,r=abc", ScramError::Malformed),
        (b"p=tls-server-end-point,,n=,r=abc", ScramError::ChannelBinding),
        (b"n,a=anna,n=,r=abc", ScramError::AuthorizationIdentity),
        (b"n,anna,n=,r=abc", ScramError::Malformed),
        (b"n,,m=x,n=,r=abc", ScramError::Extension),
    ];
    for (message, error) in cases {
        let mut server = ServerExchange::new(secret(b"pencil"), NONCE);
        assert_eq!(server.step(message), Err(error), "{}", message.escape_ascii());
        assert_eq!(server.step(b"n,,n=,r=abc"), Err(ScramError::OutOfOrder));
    }
    for message in [&b"n,,n=,r=abc"[..], b"y,,n=anna=2Cotto,r=abc", b"n,,n=,r=abc,x=optional,y=too"] {
        continued(ServerExchange::new(secret(b"pencil"), NONCE).step(message));
    }
}

#[test]
fn messages_at_and_beyond_the_limit() {
    let head = "n,,n=,r=";
    let longest = format!("{head}{}", "x".repeat(MESSAGE_LEN_MAX - head.len()));
    continued(ServerExchange::new(secret(b"pencil"), NONCE).step(longest.as_bytes()));
    let step = ServerExchange::new(secret(b"pencil"), NONCE).step(format!("{longest}x").as_bytes());
    assert_eq!(step, Err(ScramError::TooLong));
    let mut client = ClientExchange::with_password(b"pencil", None, NONCE);
    assert_eq!(client.server_first(&[b'r'; MESSAGE_LEN_MAX + 1]), Err(ScramError::TooLong));
}

#[test]
fn what_a_client_may_not_end_with() {
    let spoilt = |spoil: &dyn Fn(&str) -> String| {
        let mut server = ServerExchange::new(secret(b"pencil"), NONCE);
        let mut client = ClientExchange::with_password(b"pencil", None, OTHER_NONCE);
        let server_first = continued(server.step(&client.client_first()));
        let client_final = String::from_utf8(last(&mut client, &server_first).unwrap()).unwrap();
        server.step(spoil(&client_final).as_bytes()).map(|_| ())
    };
    assert_eq!(spoilt(&str::to_owned), Ok(()));
    assert_eq!(spoilt(&|text| text.replace("c=biws", "c=eSws")), Err(ScramError::ChannelBinding));
    assert_eq!(spoilt(&|text| text.replace("c=biws", "c=")), Err(ScramError::ChannelBinding));
    assert_eq!(spoilt(&|text| text.replace("c=biws", "m=x,c=biws")), Err(ScramError::Extension));
    assert_eq!(spoilt(&|text| text.replace(",r=", ",r=x")), Err(ScramError::Nonce));
    assert_eq!(spoilt(&|text| text.replace(",p=", ",x=y,p=")), Err(ScramError::Proof));
    assert_eq!(spoilt(&|text| text.replace(",p=", ",p=AAAA")), Err(ScramError::Malformed));
    assert_eq!(spoilt(&|text| format!("{text},x=y")), Err(ScramError::Malformed));
    assert_eq!(spoilt(&|text| text.split(",p=").next().unwrap().to_owned()), Err(ScramError::Malformed));
    let zeros = BASE64.encode([0; KEY_LEN]);
    let zero_proof = |text: &str| format!("{},p={zeros}", text.split(",p=").next().unwrap());
    assert_eq!(spoilt(&zero_proof), Err(ScramError::Proof));
}

#[test]
fn a_client_that_says_y_binds_to_y() {
    // `y` is part of what the proof covers, so a `y` turned into `n` on the way (or back) cannot succeed.
    let mut server = ServerExchange::new(secret(b"pencil"), NONCE);
    let mut client = ClientExchange::with_password(b"pencil", None, OTHER_NONCE);
    let first = String::from_utf8(client.client_first()).unwrap();
    let server_first = continued(server.step(first.replacen('n', "y", 1).as_bytes()));
    let client_final = last(&mut client, &server_first).unwrap();
    assert_eq!(server.step(&client_final), Err(ScramError::ChannelBinding));
}

#[test]
fn what_a_server_may_not_say_first() {
    let own = BASE64.encode(NONCE);
    let cases = [
        (format!("r={own},s=c2FsdA==,i=1"), ScramError::Nonce),
        (format!("r=x{own},s=c2FsdA==,i=1"), ScramError::Nonce),
        (format!("r={own} x,s=c2FsdA==,i=1"), ScramError::Nonce),
        (format!("r={own}x,s=c2FsdA=,i=1"), ScramError::Malformed),
        (format!("r={own}x,s=c2FsdA=="), ScramError::Malformed),
        (format!("r={own}x,i=1,s=c2FsdA=="), ScramError::Malformed),
        (format!("m=x,r={own}x,s=c2FsdA==,i=1"), ScramError::Extension),
        (format!("r={own}x,s=c2FsdA==,i=0"), ScramError::Iterations),
        (format!("r={own}x,s=c2FsdA==,i=-1"), ScramError::Iterations),
        (format!("r={own}x,s=c2FsdA==,i=+1"), ScramError::Iterations),
        (format!("r={own}x,s=c2FsdA==,i="), ScramError::Iterations),
        (format!("r={own}x,s=c2FsdA==,i={}", ITERATIONS_MAX + 1), ScramError::Iterations),
        (format!("r={own}x,s=c2FsdA==,i=99999999999999999999"), ScramError::Iterations),
        (String::new(), ScramError::Malformed),
    ];
    for (message, error) in cases {
        let mut client = ClientExchange::with_password(b"pencil", None, NONCE);
        assert_eq!(client.server_first(message.as_bytes()), Err(error), "{message}");
        assert_eq!(client.server_first(message.as_bytes()), Err(ScramError::OutOfOrder));
    }
}

#[test]
fn what_a_server_may_not_say_last() {
    let answer = |message: &[u8]| {
        let mut client = ClientExchange::with_password(b"pencil", None, NONCE);
        let own = BASE64.encode(NONCE);
        last(&mut client, format!("r={own}x,s=c2FsdA==,i=1").as_bytes()).unwrap();
        let answer = client.server_final(message);
        assert!(!client.is_verified());
        answer
    };
    let zeros = BASE64.encode([0; KEY_LEN]);
    assert_eq!(answer(format!("v={zeros}").as_bytes()), Err(ScramError::Signature));
    assert_eq!(answer(b"v="), Err(ScramError::Signature));
    assert_eq!(answer(b"v=%"), Err(ScramError::Malformed));
    assert_eq!(answer(b""), Err(ScramError::Malformed));
    assert_eq!(answer(b"e=invalid-proof"), Err(ScramError::Refused));
    let mut early = ClientExchange::with_password(b"pencil", None, NONCE);
    assert_eq!(early.server_final(b"v="), Err(ScramError::OutOfOrder));
    assert!(!early.is_verified());
}

#[test]
fn every_error_ends_the_exchange() {
    let mut server = ServerExchange::new(secret(b"pencil"), NONCE);
    continued(server.step(b"n,,n=,r=abc"));
    assert!(server.step(b"garbage").is_err());
    assert_eq!(server.step(b"garbage"), Err(ScramError::OutOfOrder));
}

#[test]
fn nothing_secret_is_shown() {
    let keys = derive(b"pencil", b"salt", 1);
    let recipe = Recipe { password: b"pencil".to_vec(), salt: b"salt".to_vec(), iterations: 1 };
    let derived = recipe.clone().derive();
    assert_eq!(derived, Derived { salt: b"salt".to_vec(), iterations: 1, keys });
    let shown = [
        format!("{recipe:?}{:?}", ClientStep::Derive(recipe.clone())),
        format!("{:?}", Secret::Plain(b"pencil".to_vec())),
        format!("{:?}", Secret::Md5(*b"0123456789abcdef0123456789abcdef")),
        format!("{:?}", Secret::Scram(secret(b"pencil"))),
        format!("{:?}", secret(b"pencil")),
        format!("{keys:?}{derived:?}"),
        format!("{:?}", ServerExchange::new(secret(b"pencil"), NONCE)),
        format!("{:?}", ClientExchange::with_keys(derived, NONCE)),
        format!("{:?}", ServerStep::Done { server_final: vec![1], client_key: [7; 32] }),
    ]
    .concat();
    for leak in ["pencil", "0123456789", "[1", "[7", "112, 101"] {
        assert!(!shown.contains(leak), "{shown}");
    }
}
