//! Decimal numbers, compared exactly.

/// A decimal number as a count of 10^-18.
///
/// At most eighteen digits on either side of the point, so that the count always fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Decimal(i128);

/// Digits on either side of the point.
const DIGITS: usize = 18;
const ONE: i128 = 10i128.pow(DIGITS as u32);

impl Decimal {
    /// The number that `text` is: an optional `-`, digits, and optionally a point and digits. Nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, magnitude) = match text.strip_prefix('-') {
            Some(magnitude) => (true, magnitude),
            None => (false, text),
        };
        let (whole, fraction) = match magnitude.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (magnitude, None),
        };
        let mut count = digits(whole)? * ONE;
        if let Some(fraction) = fraction {
            let missing = DIGITS.checked_sub(fraction.len())?;
            count += digits(fraction)? * 10i128.pow(missing as u32);
        }
        Some(Self(if negative { -count } else { count }))
    }
}

/// The number that one to eighteen ASCII digits are.
fn digits(text: &str) -> Option<i128> {
    let well = (1..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    well.then(|| text.bytes().fold(0, |sum, byte| sum * 10 + i128::from(byte - b'0')))
}

/// Numbers from `low` to `high`, both included; none = open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Range {
    pub(crate) low: Option<Decimal>,
    pub(crate) high: Option<Decimal>,
}

impl Range {
    /// The range that an offered value is, if it has the form of one and holds a number at all.
    pub(crate) fn offered(text: &str) -> Option<Self> {
        let (low, high) = text.split_once("..")?;
        let end = |text: &str| match text.trim() {
            "" => Some(None),
            number => Decimal::parse(number).map(Some),
        };
        let range = Self { low: end(low)?, high: end(high)? };
        match range {
            Self { low: None, high: None } => None,
            Self { low: Some(low), high: Some(high) } if low > high => None,
            _ => Some(range),
        }
    }

    pub(crate) fn contains(self, number: Decimal) -> bool {
        self.low.is_none_or(|low| low <= number) && self.high.is_none_or(|high| number <= high)
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let below = |low: Option<Decimal>, high: Option<Decimal>| match (low, high) {
            (Some(low), Some(high)) => low <= high,
            _ => true,
        };
        below(self.low, other.high) && below(other.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_decimals_are_numbers() {
        for number in ["0", "-0", "7", "007", "3.3", "-12.50", "999999999999999999.999999999999999999"] {
            assert!(Decimal::parse(number).is_some(), "{number}");
        }
        for text in [
            "",
            "-",
            "+1",
            "1.",
            ".5",
            "1e3",
            "0x10",
            "1_000",
            "--1",
            "1.2.3",
            " 1",
            "1 ",
            "٣",
            "NaN",
            "inf",
            "1234567890123456789",
            "0.1234567890123456789",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn comparison_is_exact_where_floats_are_not() {
        let number = |text| Decimal::parse(text).unwrap();
        assert!(number("0.1") < number("0.100000000000000001"));
        assert!(number("9007199254740992") < number("9007199254740993"));
        assert_eq!(number("3.3"), number("3.30"));
        assert_eq!(number("-0"), number("0.0"));
        assert!(number("-0.000000000000000001") < number("0"));
        assert!(number("1.10") < number("1.2"));
    }

    #[test]
    fn an_offered_range_needs_an_end_and_a_number_in_it() {
        for range in ["2..", "..5", "2..5", "2..2", "-5..-2", "2.9..3.6", " 2 .. 5 "] {
            assert!(Range::offered(range).is_some(), "{range}");
        }
        for text in ["..", "5..2", "a..b", "2...5", "2..5..7", "2", "", "1.2"] {
            assert_eq!(Range::offered(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn decimals_compare_like_scaled_integers(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
            let text = |n: i64| {
                let sign = if n < 0 { "-" } else { "" };
                format!("{sign}{}.{:03}", n.abs() / 1000, n.abs() % 1000)
            };
            prop_assert_eq!(Decimal::parse(&text(a)).cmp(&Decimal::parse(&text(b))), a.cmp(&b));
        }

        #[test]
        fn ranges_overlap_exactly_when_a_number_is_in_both(
            a in proptest::option::of(0i64..8), b in proptest::option::of(0i64..8),
            c in proptest::option::of(0i64..8), d in proptest::option::of(0i64..8),
        ) {
            let number = |n: Option<i64>| n.map(|n| Decimal::parse(&n.to_string()).unwrap());
            let (one, two) = (Range { low: number(a), high: number(b) }, Range { low: number(c), high: number(d) });
            prop_assume!(a.zip(b).is_none_or(|(a, b)| a <= b) && c.zip(d).is_none_or(|(c, d)| c <= d));
            let shared = (-1..9).any(|n| {
                let n = Decimal::parse(&n.to_string()).unwrap();
                one.contains(n) && two.contains(n)
            });
            prop_assert_eq!(one.overlaps(two), shared);
        }
    }
}
