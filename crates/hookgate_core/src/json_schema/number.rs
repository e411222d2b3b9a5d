//! Numbers, as JSON Schema compares them: by what they are, not by how a machine keeps them.

use std::cmp::Ordering;

use serde_json::Number;

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Whether it has no fraction, as 1.0 has none.
pub(super) fn is_whole(number: &Number) -> bool {
    integer(number).is_some() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

/// An order of all numbers, which is exact also where a float has not digits enough for the integer.
pub(super) fn compare(a: &Number, b: &Number) -> Ordering {
    let float = |number: &Number| number.as_f64().unwrap_or_default();
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_with_float(a, float(b)),
        (None, Some(b)) => compare_with_float(b, float(a)).reverse(),
        (None, None) => float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Equal),
    }
}

fn compare_with_float(integer: i128, float: f64) -> Ordering {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is too large becomes the largest, which no number here is"
    )]
    let whole = float.trunc() as i128;
    integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal))
}

/// A number as it is written, without its point: so many, times ten to the power.
fn decimal(number: &Number) -> Option<(i128, i32)> {
    let text = number.to_string();
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let power = power.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    Some((format!("{whole}{fraction}").parse().ok()?, power))
}

/// As the two are written: in binary, 0.3 is no multiple of 0.1.
pub(super) fn is_multiple(number: &Number, divisor: &Number) -> bool {
    let exact = || {
        let ((a, a_power), (b, b_power)) = (decimal(number)?, decimal(divisor)?);
        let scaled = |value: i128, power: i32| {
            let tens = 10_i128.checked_pow(u32::try_from(power - a_power.min(b_power)).ok()?)?;
            value.checked_mul(tens)
        };
        scaled(a, a_power)?.checked_rem(scaled(b, b_power)?).map(|rest| rest == 0)
    };
    exact().unwrap_or_else(|| {
        // Too far apart for that.
        number.as_f64().zip(divisor.as_f64()).is_some_and(|(a, b)| a % b == 0.0)
    })
}
