//! Plugins.

use std::time::Duration;

use grove_wire::plugin::{Plugin, SwapPlugin, VersionChoice};
use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::transport::Call;
use crate::{Client, Error, Pages};

/// What sending a component and checking it may take beyond any other call.
const TAKING_IN: Duration = Duration::from_secs(300);

impl Client {
    /// The plugins that the farm knows, by name.
    pub fn plugins(&self) -> Pages<Plugin> {
        Pages::new(self, "plugins", &()).in_one_piece()
    }

    /// One plugin.
    pub async fn plugin(&self, name: &str) -> Result<Plugin, Error> {
        self.v2(Method::GET, &["plugins", name]).json().await
    }

    /// Takes in a version: the text of its plugin.toml, and its component. With `activate` it is used from now on.
    /// Also true when exactly this version was not there before.
    pub async fn install_plugin(
        &self,
        manifest: String,
        component: Vec<u8>,
        activate: bool,
        expected: Option<u64>,
    ) -> Result<(Plugin, bool), Error> {
        let form = Form::new()
            .part("manifest", Part::text(manifest).file_name("plugin.toml"))
            .part("component", Part::bytes(component).file_name("component.wasm"))
            .text("activate", if activate { "true" } else { "false" });
        let call = self.v2(Method::POST, &["plugins"]).expecting(expected);
        call.form(form).waiting(TAKING_IN).json_or_created().await
    }

    /// Uses a plugin; a policy becomes the farm's.
    pub async fn enable_plugin(&self, name: &str, expected: Option<u64>) -> Result<Plugin, Error> {
        self.plugin_call(name, "enable").expecting(expected).json().await
    }

    /// Uses nothing of a plugin for new work.
    pub async fn disable_plugin(&self, name: &str, expected: Option<u64>) -> Result<Plugin, Error> {
        self.plugin_call(name, "disable").expecting(expected).json().await
    }

    /// Makes another version the active one.
    pub async fn swap_plugin(
        &self,
        name: &str,
        to: VersionChoice,
        expected: Option<u64>,
    ) -> Result<Plugin, Error> {
        self.plugin_call(name, "swap").expecting(expected).body(&SwapPlugin { to }).json().await
    }

    /// Removes one version, or all of them and with them the plugin.
    pub async fn remove_plugin(
        &self,
        name: &str,
        version: Option<&VersionChoice>,
        expected: Option<u64>,
    ) -> Result<(), Error> {
        let call = self.v2(Method::DELETE, &["plugins", name]).expecting(expected);
        call.query(&[("version", version.map(VersionChoice::as_str))]).done().await
    }

    /// A change that may have to load a component first.
    fn plugin_call(&self, name: &str, change: &str) -> Call<'_> {
        self.v2(Method::POST, &["plugins", name, change]).waiting(TAKING_IN)
    }
}
