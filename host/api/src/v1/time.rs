//! Times as Go reads and writes them.

use grove_domain::moment::{Moment, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::golang::{Error, Value};

/// Sets a time. `null`, and the first instant of year 1, are none.
pub(crate) fn time(value: &Value<'_>, field: &str, target: &mut Option<Moment>) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) => {
            let moment = parse(text).ok_or_else(|| {
                Error::from(format!(
                    "cannot parse the time in field {field}: write it like 2006-01-02T15:04:05Z"
                ))
            })?;
            *target = (moment.at != zero()).then_some(moment);
            Ok(())
        }
        _ => Err(format!("a time is a string in field {field}").into()),
    }
}

fn zero() -> Timestamp {
    DateTime::constant(1, 1, 1, 0, 0, 0, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map_or(Timestamp::MIN, |at| at.timestamp())
}

/// RFC 3339, strictly; more than nine digits of a fraction are cut. Times beyond what can be held are the latest.
fn parse(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| -> Option<i32> {
        let digits = bytes.get(from..from + len)?;
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i32::from(digit - b'0')))
    };
    let separated = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]
        .iter()
        .all(|(at, separator)| bytes.get(*at) == Some(separator));
    if !separated {
        return None;
    }
    let mut at = 19;
    let mut nanoseconds = 0;
    if bytes.get(at) == Some(&b'.') {
        let digits = bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = digits.min(9);
        nanoseconds = number(at + 1, kept)? * 10_i32.pow(9 - u32::try_from(kept).ok()?);
        if digits == 0 {
            return None;
        }
        at += 1 + digits;
    }
    let offset = match bytes.get(at..)? {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let small = |number: i32| i8::try_from(number).ok();
    let (year, month, day) =
        (i16::try_from(number(0, 4)?).ok()?, small(number(5, 2)?)?, small(number(8, 2)?)?);
    let (hour, minute, second) = (small(number(11, 2)?)?, small(number(14, 2)?)?, small(number(17, 2)?)?);
    let civil = DateTime::new(year, month, day, hour, minute, second, nanoseconds).ok()?;
    let latest = if year > 5000 { Timestamp::MAX } else { Timestamp::MIN };
    let at = Offset::from_seconds(offset).ok()?.to_timestamp(civil).unwrap_or(latest);
    Some(Moment { at, offset })
}

/// With its offset, and up to nanoseconds without trailing zeros.
pub(crate) fn write_time(out: &mut Vec<u8>, moment: Moment) {
    out.push(b'"');
    write(out, moment, true);
    out.push(b'"');
}

/// In whole seconds, UTC.
pub(crate) fn whole_seconds(at: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    write(&mut out, Moment::utc(at), false);
    out
}

fn write(out: &mut Vec<u8>, moment: Moment, fraction: bool) {
    let offset = Offset::from_seconds(moment.offset).unwrap_or(Offset::UTC);
    let local = offset.to_datetime(moment.at);
    digits(out, i32::from(local.year()), 4);
    for (separator, part) in [
        (b'-', local.month()),
        (b'-', local.day()),
        (b'T', local.hour()),
        (b':', local.minute()),
        (b':', local.second()),
    ] {
        out.push(separator);
        digits(out, i32::from(part), 2);
    }
    let nanoseconds = local.subsec_nanosecond();
    if fraction && nanoseconds > 0 {
        out.push(b'.');
        digits(out, nanoseconds, 9);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    // Go knows offsets in minutes only.
    let minutes = offset.seconds() / 60;
    if minutes == 0 {
        out.push(b'Z');
    } else {
        out.push(if minutes < 0 { b'-' } else { b'+' });
        digits(out, minutes.abs() / 60, 2);
        out.push(b':');
        digits(out, minutes.abs() % 60, 2);
    }
}

fn digits(out: &mut Vec<u8>, number: i32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_i32.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(moment: Moment) -> String {
        let mut out = Vec::new();
        write(&mut out, moment, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_keep_their_offset_and_lose_their_zeros() {
        for (sent, shown) in [
            ("2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z"),
            ("2006-01-02T15:04:05.120Z", "2006-01-02T15:04:05.12Z"),
            ("2006-01-02T15:04:05.000Z", "2006-01-02T15:04:05Z"),
            ("2006-01-02T15:04:05.1234567899Z", "2006-01-02T15:04:05.123456789Z"),
            ("2006-01-02T15:04:05+00:00", "2006-01-02T15:04:05Z"),
            ("2006-01-02T15:04:05.5+02:30", "2006-01-02T15:04:05.5+02:30"),
            ("2006-01-02T15:04:05-11:00", "2006-01-02T15:04:05-11:00"),
            ("0001-01-01T00:00:01Z", "0001-01-01T00:00:01Z"),
        ] {
            assert_eq!(written(parse(sent).expect(sent)), shown);
        }
    }

    #[test]
    fn the_end_of_time_is_the_latest_there_is() {
        assert_eq!(parse("9999-12-31T23:59:59Z").unwrap().at, Timestamp::MAX);
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2006-01-02",
            "2006-01-02T15:04:05",
            "2006-01-02t15:04:05z",
            "2006-01-02 15:04:05Z",
            "2006-02-30T15:04:05Z",
            "2006-01-02T24:04:05Z",
            "2006-01-02T15:04:60Z",
            "2006-01-02T15:04:05,5Z",
            "2006-01-02T15:04:05.Z",
            "2006-01-02T15:04:05+24:00",
            "2006-01-02T15:04:05+0200",
            "2006-01-02T5:04:05Z",
            "2006-01-02T15:04:05ZZ",
            "+006-01-02T15:04:05Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_instant_is_none() {
        let mut target = Some(Moment::utc(Timestamp::UNIX_EPOCH));
        time(&Value::String("0001-01-01T01:00:00+01:00".into()), "f", &mut target).unwrap();
        assert_eq!(target, None);
        assert!(time(&Value::String("".into()), "f", &mut target).is_err());
        assert!(time(&Value::Number("1"), "f", &mut target).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in -60_000_000_000_i64..250_000_000_000, nanos in 0..1_000_000_000_i32, minutes in -1439..1440_i32) {
            let moment = Moment { at: Timestamp::new(seconds, nanos).unwrap(), offset: minutes * 60 };
            prop_assert_eq!(parse(&written(moment)), Some(moment));
        }

        #[test]
        fn no_text_upsets_it(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
