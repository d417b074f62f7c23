//! The texts: conninfo strings, URLs, service files, password files.

use super::{ConninfoError, Pairs};

/// Fields of a line of a password file.
const PASSFILE_FIELDS: usize = 5;

/// Reads `key=value` pairs or a `postgresql://` URL.
///
/// # Errors
/// [`ConninfoError`] for a text of neither form, or a keyword that is not libpq's.
pub fn parse(text: &str) -> Result<Pairs, ConninfoError> {
    let url = ["postgresql://", "postgres://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    url.map_or_else(|| keywords(text), self::url)
}

/// Blank separated `key = value`; a value with blanks in single quotes, and a backslash before what is meant literally.
fn keywords(text: &str) -> Result<Pairs, ConninfoError> {
    let mut pairs = Pairs::default();
    let mut rest = text.trim_start();
    for place in 1.. {
        if rest.is_empty() {
            break;
        }
        let (keyword, after) = rest.split_once('=').ok_or(ConninfoError::Syntax("no = behind a keyword"))?;
        let (value, after) = value(after.trim_start())?;
        pairs.insert(keyword.trim_end(), value, place)?;
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// The value that `text` begins with, and what follows it.
fn value(text: &str) -> Result<(String, &str), ConninfoError> {
    let quoted = text.strip_prefix('\'');
    let mut value = String::new();
    let mut chars = quoted.unwrap_or(text).chars();
    loop {
        let before = chars.as_str();
        match chars.next() {
            None if quoted.is_some() => return Err(ConninfoError::Syntax("no closing quote")),
            None => return Ok((value, "")),
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted.is_some() => return Ok((value, chars.as_str())),
            Some(c) if quoted.is_none() && c.is_ascii_whitespace() => return Ok((value, before)),
            Some(c) => value.push(c),
        }
    }
}

/// `[user[:password]@][host[:port]][/dbname][?key=value[&...]]`, every part percent-encoded.
fn url(text: &str) -> Result<Pairs, ConninfoError> {
    let mut pairs = Pairs::default();
    let (location, query) = text.split_once('?').map_or((text, None), |(left, right)| (left, Some(right)));
    let (authority, dbname) =
        location.split_once('/').map_or((location, None), |(left, right)| (left, Some(right)));
    // The last @, so that no part of a password with an unencoded one is taken for a host and shown as such.
    let (account, server) =
        authority.rsplit_once('@').map_or((None, authority), |(left, right)| (Some(left), right));
    let mut put = |keyword, text: &str| match text {
        "" => Ok(()),
        text => pairs.insert(keyword, decode(text)?, 0),
    };
    if let Some(account) = account {
        let (user, password) = account.split_once(':').unwrap_or((account, ""));
        put("user", user)?;
        put("password", password)?;
    }
    let (host, port) = host_and_port(server)?;
    put("host", host)?;
    put("port", port)?;
    put("dbname", dbname.unwrap_or_default())?;
    let parameters = query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty());
    for (at, parameter) in parameters.enumerate() {
        let (keyword, value) =
            parameter.split_once('=').ok_or(ConninfoError::Syntax("no = behind a parameter of the URL"))?;
        let (keyword, value) = (decode(keyword)?, decode(value)?);
        match (keyword.as_str(), value.as_str()) {
            // The spelling of the JDBC driver, which libpq takes too.
            ("ssl", "true") => pairs.insert("sslmode", "require".to_owned(), at + 1)?,
            _ => pairs.insert(&keyword, value, at + 1)?,
        }
    }
    Ok(pairs)
}

/// Host and port of a URL; an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Result<(&str, &str), ConninfoError> {
    let Some(inner) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let (address, rest) = inner.split_once(']').ok_or(ConninfoError::Syntax("no ] behind an address"))?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((address, port)),
        None if rest.is_empty() => Ok((address, "")),
        None => Err(ConninfoError::Syntax("only a port may follow an address in brackets")),
    }
}

/// Undoes percent-encoding (RFC 3986 §2.1).
fn decode(text: &str) -> Result<String, ConninfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(ConninfoError::Syntax("% without two hexadecimal digits"));
        };
        match u8::try_from(high * 16 + low) {
            Ok(byte) if byte != 0 => bytes.push(byte),
            _ => return Err(ConninfoError::Syntax("%00 in a URL")),
        }
    }
    String::from_utf8(bytes).map_err(|_| ConninfoError::Syntax("a URL that is not UTF-8"))
}

/// What the service file `text` says about the service `name`; None if it does not know it.
///
/// # Errors
/// [`ConninfoError`] for a line of the service that is no `key=value` of libpq's.
pub fn service(text: &str, name: &str) -> Result<Option<Pairs>, ConninfoError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let header =
        |line: &str| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).map(str::to_owned);
    let mut inside = lines.skip_while(|line| header(line).as_deref() != Some(name));
    if inside.next().is_none() {
        return Ok(None);
    }
    let mut pairs = Pairs::default();
    for (at, line) in inside.take_while(|line| header(line).is_none()).enumerate() {
        let (keyword, value) =
            line.split_once('=').ok_or(ConninfoError::Syntax("a line of the service without ="))?;
        if ["service", "servicefile"].contains(&keyword) {
            return Err(ConninfoError::Syntax("a service that names a service"));
        }
        pairs.insert(keyword, value.to_owned(), at + 1)?;
    }
    Ok(Some(pairs))
}

/// The password in the first line of the password file `text` that fits: `host:port:database:user:password`, where `*`
/// fits all and a backslash stands before a colon or backslash that is meant literally.
pub fn passfile_password(text: &[u8], host: &str, port: u16, database: &str, user: &str) -> Option<Vec<u8>> {
    let port = port.to_string();
    let wanted = [host, &port, database, user].map(str::as_bytes);
    let fits = |field: &[u8], wanted: &[u8]| field == b"*" || unescape(field) == wanted;
    text.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.starts_with(b"#"))
        .find_map(|line| {
            let fields = fields(line)?;
            let (password, places) = fields.split_last()?;
            places.iter().zip(wanted).all(|(field, wanted)| fits(field, wanted)).then(|| unescape(password))
        })
        .filter(|password| !password.is_empty())
}

/// The five fields of a line; the last one is the rest of it.
fn fields(line: &[u8]) -> Option<[&[u8]; PASSFILE_FIELDS]> {
    let mut fields = [&line[..0]; PASSFILE_FIELDS];
    let (last, places) = fields.split_last_mut()?;
    let mut rest = line;
    for field in places {
        let mut escaped = false;
        let end = rest.iter().position(|&byte| {
            let ends = byte == b':' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        *field = &rest[..end];
        rest = &rest[end + 1..];
    }
    *last = rest;
    Some(fields)
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            byte => plain.push(byte),
        }
    }
    plain
}
