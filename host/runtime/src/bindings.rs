//! The Rust side of `wit/`, generated. Private: nothing generated leaves this crate, so the contract with plugins and
//! the contract with the controller can change apart.

/// What every driver imports and exports.
pub(crate) mod driver {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "grove:plugin/driver-base",
        imports: { "grove:plugin/log.log": trappable, default: async | trappable },
        exports: { default: async },
    });
}

/// The ability to switch power.
pub(crate) mod power {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package grove:host; world has-power { export grove:plugin/power@0.1.0; }",
        world: "grove:host/has-power",
        exports: { default: async },
        with: {
            "grove:plugin/types@0.1.0": super::driver::grove::plugin::types,
            "grove:plugin/driver-types@0.1.0": super::driver::grove::plugin::driver_types,
        },
    });
}

/// The ability to read what a board is made of.
pub(crate) mod introspect {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package grove:host; world has-introspect { export grove:plugin/introspect@0.1.0; }",
        world: "grove:host/has-introspect",
        exports: { default: async },
        with: {
            "grove:plugin/types@0.1.0": super::driver::grove::plugin::types,
            "grove:plugin/driver-types@0.1.0": super::driver::grove::plugin::driver_types,
        },
    });
}

/// A policy.
pub(crate) mod policy {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "grove:plugin/policy-plugin",
        imports: { default: trappable },
        exports: { default: async },
    });
}

/// An inspector.
pub(crate) mod inspector {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "grove:plugin/inspector-plugin",
        imports: { default: trappable },
        exports: { default: async },
    });
}
