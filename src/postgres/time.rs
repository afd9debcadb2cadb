//! Timestamps as text, from PostgreSQL's microseconds since 2000.

use std::io::Write;

const DAY: i64 = 86_400_000_000;

/// Writes a timestamp as RFC 3339 with six digits, `zone` behind it; years before 1 as PostgreSQL does, with BC at the
/// end. Every text reads back in PostgreSQL as the same timestamp.
pub(super) fn write(micros: i64, zone: &str, out: &mut Vec<u8>) {
    match micros {
        i64::MAX => return out.extend_from_slice(b"infinity"),
        i64::MIN => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil(days + 10_957);
    let before_christ = year < 1;
    let year = if before_christ { 1 - year } else { year };
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if year < 10_000 {
        digits(year, 4, out);
    } else {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{year}");
    }
    for (sign, number, width) in
        [(b'-', month, 2), (b'-', day, 2), (b'T', hour, 2), (b':', minute, 2), (b':', second, 2), (b'.', fraction, 6)]
    {
        out.push(sign);
        digits(number, width, out);
    }
    out.extend_from_slice(zone.as_bytes());
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// Writes the same out of the server's own text in the ISO style, of UTC where it has a zone.
pub(super) fn read_text(text: &[u8], zone: &str, out: &mut Vec<u8>) -> Option<()> {
    if matches!(text, b"infinity" | b"-infinity") {
        out.extend_from_slice(text);
        return Some(());
    }
    let (rest, before_christ) = match text.strip_suffix(b" BC") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let rest = if zone.is_empty() { rest } else { rest.strip_suffix(b"+00")? };
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let (date, clock) = (&rest[..space], &rest[space + 1..]);
    let (seconds, fraction) = match clock.iter().position(|byte| *byte == b'.') {
        Some(point) => (&clock[..point], &clock[point + 1..]),
        None => (clock, &b""[..]),
    };
    if seconds.len() != 8 || fraction.len() > 6 || date.len() < 10 {
        return None;
    }
    out.extend_from_slice(date);
    out.push(b'T');
    out.extend_from_slice(seconds);
    out.push(b'.');
    out.extend_from_slice(fraction);
    out.extend_from_slice(&b"000000"[fraction.len()..]);
    out.extend_from_slice(zone.as_bytes());
    if before_christ {
        out.extend_from_slice(b" BC");
    }
    Some(())
}

/// The last `width` digits of a number.
fn digits(mut number: i64, width: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + width, b'0');
    for digit in out[at..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day counted from 1970, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{read_text, write};

    #[test]
    fn texts_of_the_server_become_the_same() {
        for (server, micros) in [
            ("2000-01-01 00:00:00+00", 0),
            ("2025-08-31 23:04:36.171+00", 809_996_676_171_000),
            ("1999-12-31 23:59:59.999999+00", -1),
            ("0001-12-31 23:59:59.999999+00 BC", -63_082_281_600_000_001),
            ("infinity", i64::MAX),
            ("-infinity", i64::MIN),
        ] {
            let (mut ours, mut read) = (Vec::new(), Vec::new());
            write(micros, "Z", &mut ours);
            assert_eq!(read_text(server.as_bytes(), "Z", &mut read), Some(()), "{server}");
            assert_eq!(read, ours, "{server}");
            let (mut ours, mut read) = (Vec::new(), Vec::new());
            write(micros, "", &mut ours);
            assert_eq!(read_text(server.replace("+00", "").as_bytes(), "", &mut read), Some(()), "{server}");
            assert_eq!(read, ours, "{server}");
        }
        for odd in ["", "2000-01-01", "2000-01-01 00:00+00", "2000-01-01 00:00:00+02", "2000-01-01 00:00:00.1234567+00"]
        {
            assert_eq!(read_text(odd.as_bytes(), "Z", &mut Vec::new()), None, "{odd}");
        }
    }

    #[test]
    fn timestamps_are_written_with_all_six_digits() {
        for (micros, text) in [
            (0, "2000-01-01T00:00:00.000000Z"),
            (809_996_676_171_000, "2025-08-31T23:04:36.171000Z"),
            (252_455_616_000_000_000, "10000-01-01T00:00:00.000000Z"),
            (-1, "1999-12-31T23:59:59.999999Z"),
            (-63_082_281_600_000_000, "0001-01-01T00:00:00.000000Z"),
            (-63_082_281_600_000_001, "0001-12-31T23:59:59.999999Z BC"),
            (i64::MAX, "infinity"),
            (i64::MIN, "-infinity"),
        ] {
            let mut out = Vec::new();
            write(micros, "Z", &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
