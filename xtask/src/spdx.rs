//! Licence expressions, as far as crates write them: names, `WITH`, `AND`, `OR`, parentheses, and the old `/` for `OR`.

use std::iter::Peekable;
use std::vec::IntoIter;

use anyhow::{Result, bail};

/// Whether one may use a crate under this expression when these licences may be used.
///
/// # Errors
/// When it is no expression.
pub fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut words = words.into_iter().peekable();
    let answer = any(&mut words, allowed)?;
    match words.next() {
        None => Ok(answer),
        Some(word) => bail!("`{word}` has no place in the licence `{expression}`"),
    }
}

type Words = Peekable<IntoIter<String>>;

fn any(words: &mut Words, allowed: &dyn Fn(&str) -> bool) -> Result<bool> {
    let mut answer = all(words, allowed)?;
    while words.next_if_eq("OR").is_some() {
        answer |= all(words, allowed)?;
    }
    Ok(answer)
}

fn all(words: &mut Words, allowed: &dyn Fn(&str) -> bool) -> Result<bool> {
    let mut answer = one(words, allowed)?;
    while words.next_if_eq("AND").is_some() {
        answer &= one(words, allowed)?;
    }
    Ok(answer)
}

fn one(words: &mut Words, allowed: &dyn Fn(&str) -> bool) -> Result<bool> {
    match words.next().as_deref() {
        Some("(") => {
            let answer = any(words, allowed)?;
            match words.next().as_deref() {
                Some(")") => Ok(answer),
                _ => bail!("a licence expression ends without `)`"),
            }
        }
        None | Some(")" | "AND" | "OR" | "WITH") => bail!("a licence is missing in the expression"),
        // "Or any later version": the version that is named will do.
        Some(name) => {
            let name = name.trim_end_matches('+');
            match words.next_if_eq("WITH") {
                Some(_) => match words.next() {
                    Some(exception) => Ok(allowed(&format!("{name} WITH {exception}"))),
                    None => bail!("`{name} WITH` names no exception"),
                },
                None => Ok(allowed(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    fn mit_isc(expression: &str) -> Option<bool> {
        satisfied(expression, &|name| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name)).ok()
    }

    #[test]
    fn expressions_are_read_as_written() {
        for (expression, answer) in [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("MIT OR GPL-3.0", Some(true)),
            ("MIT/GPL-3.0", Some(true)),
            ("MIT AND GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT AND ISC", Some(true)),
            ("(GPL-3.0 OR MIT) AND ISC", Some(true)),
            ("(GPL-3.0 OR MIT) AND BSD-3-Clause", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("Apache-2.0", Some(false)),
            ("ISC+", Some(true)),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT ISC", None),
            ("", None),
        ] {
            assert_eq!(mit_isc(expression), answer, "{expression}");
        }
    }
}
