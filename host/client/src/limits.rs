//! Limits on running tasks.

use grove_wire::limit::{Limit, LimitScope, SetLimit};
use reqwest::Method;

use crate::transport::Call;
use crate::{Client, Error, Pages};

impl Client {
    /// The limits that were ever set.
    pub fn limits(&self) -> Pages<Limit> {
        Pages::new(self, "limits", &()).in_one_piece()
    }

    /// One limit, also one that was never set; the farm has no `name`.
    pub async fn limit(&self, scope: LimitScope, name: &str) -> Result<Limit, Error> {
        self.limit_call(Method::GET, scope, name).json().await
    }

    /// At most so many tasks run there from now on: none = any number, 0 = nothing starts.
    pub async fn set_limit(
        &self,
        scope: LimitScope,
        name: &str,
        value: Option<u32>,
        expected: Option<u64>,
    ) -> Result<Limit, Error> {
        let call = self.limit_call(Method::PUT, scope, name).expecting(expected);
        call.body(&SetLimit { value }).json().await
    }

    fn limit_call(&self, method: Method, scope: LimitScope, name: &str) -> Call<'_> {
        match scope {
            LimitScope::Farm => self.v2(method, &["limits", "farm"]),
            LimitScope::Driver => self.v2(method, &["limits", "driver", name]),
            LimitScope::Host => self.v2(method, &["limits", "host", name]),
        }
    }
}
