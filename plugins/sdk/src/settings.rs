//! What the admin configured for a plugin: JSON text that the controller already held against the plugin's schema.

use serde::de::DeserializeOwned;

/// The settings as they came.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a>(&'a str);

impl<'a> Settings<'a> {
    /// Settings from JSON text; nothing at all means an empty object.
    pub fn new(json: &'a str) -> Self {
        let json = json.trim();
        Self(if json.is_empty() { "{}" } else { json })
    }

    /// The JSON text.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// Whether nothing was configured.
    pub fn is_empty(&self) -> bool {
        let inside = self.0.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        self.0 == "null" || inside.is_some_and(|inside| inside.trim().is_empty())
    }

    /// The settings as a type of the plugin's own. Let it `deny_unknown_fields`, so that a misspelt setting is
    /// refused instead of ignored.
    ///
    /// # Errors
    /// What does not fit, and where.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(self.0).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[serde(default)]
        port: u16,
    }

    #[test]
    fn nothing_is_an_empty_object() {
        assert_eq!(Settings::new("  ").parse(), Ok(Wanted { port: 0 }));
        assert!(Settings::new("").is_empty());
        assert!(Settings::new(" { } ").is_empty());
        assert!(!Settings::new(r#"{"port":1}"#).is_empty());
    }

    #[test]
    fn a_misspelt_setting_is_named() {
        let error = Settings::new(r#"{"prot":1}"#).parse::<Wanted>().unwrap_err();
        assert!(error.contains("unknown field `prot`"), "{error}");
    }
}
