//! Services.

use grove_wire::service::Service;
use reqwest::Method;

use crate::{Client, Error, Pages};

impl Client {
    /// The services of the controller, by name. They are told also while the farm is not served.
    pub fn services(&self) -> Pages<Service> {
        Pages::new(self, "services", &()).in_one_piece()
    }

    /// One service.
    pub async fn service(&self, name: &str) -> Result<Service, Error> {
        self.v2(Method::GET, &["services", name]).json().await
    }

    /// The graph of the services, in the language of graphviz.
    pub async fn services_dot(&self) -> Result<String, Error> {
        self.v2(Method::GET, &["services"]).query(&[("format", "dot")]).text().await
    }
}
