//! What wit-bindgen makes of the contract: one world per thing that a plugin may export, so that a plugin exports
//! exactly what it has. Types that several worlds name are generated once.

/// Policies.
pub mod policy {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package grove:guest; world guest-policy { include grove:plugin/policy-plugin@0.1.0; }",
        world: "grove:guest/guest-policy",
        generate_all,
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
    });
}

/// What every driver exports, and all that a driver may import.
pub mod driver {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package grove:guest; world guest-driver { include grove:plugin/driver-base@0.1.0; }",
        world: "grove:guest/guest-driver",
        with: {
            "grove:plugin/log@0.1.0": crate::bindings::policy::grove::plugin::log,
            "grove:plugin/types@0.1.0": crate::bindings::policy::grove::plugin::types,
        },
        generate_all,
        generate_unused_types: true,
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
    });
}

/// The ability to switch power.
pub mod power {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package grove:guest; world guest-power { export grove:plugin/power@0.1.0; }",
        world: "grove:guest/guest-power",
        with: {
            "grove:plugin/types@0.1.0": crate::bindings::policy::grove::plugin::types,
            "grove:plugin/driver-types@0.1.0": crate::bindings::driver::grove::plugin::driver_types,
        },
        pub_export_macro: true,
        export_macro_name: "export",
    });
}

/// The ability to take an inventory.
pub mod introspect {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package grove:guest; world guest-introspect { export grove:plugin/introspect@0.1.0; }",
        world: "grove:guest/guest-introspect",
        with: {
            "grove:plugin/types@0.1.0": crate::bindings::policy::grove::plugin::types,
            "grove:plugin/driver-types@0.1.0": crate::bindings::driver::grove::plugin::driver_types,
        },
        pub_export_macro: true,
        export_macro_name: "export",
    });
}

/// Inspectors.
pub mod inspector {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package grove:guest; world guest-inspector { include grove:plugin/inspector-plugin@0.1.0; }",
        world: "grove:guest/guest-inspector",
        with: {
            "grove:plugin/log@0.1.0": crate::bindings::policy::grove::plugin::log,
            "grove:plugin/types@0.1.0": crate::bindings::policy::grove::plugin::types,
        },
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
    });
}
