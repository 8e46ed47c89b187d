//! What the test guests share: a trait for each kind of plugin in which every call behaves well, so that a guest holds
//! only what it does differently. The plugins' SDK is not used on purpose: guests here must be able to break its rules.

#[doc(hidden)]
pub mod bindings {
    pub mod driver {
        wit_bindgen::generate!({
            path: "../../../../wit",
            inline: "package test:guest; world test-driver { include grove:plugin/driver-base@0.1.0; }",
            world: "test:guest/test-driver",
            generate_all,
            generate_unused_types: true,
            pub_export_macro: true,
            export_macro_name: "export",
        });
    }
    pub mod policy {
        wit_bindgen::generate!({
            path: "../../../../wit",
            inline: "package test:guest; world test-policy { include grove:plugin/policy-plugin@0.1.0; }",
            world: "test:guest/test-policy",
            generate_all,
            pub_export_macro: true,
            export_macro_name: "export",
        });
    }
    pub mod inspector {
        wit_bindgen::generate!({
            path: "../../../../wit",
            inline: "package test:guest; world test-inspector { include grove:plugin/inspector-plugin@0.1.0; }",
            world: "test:guest/test-inspector",
            generate_all,
            additional_derives: [Clone],
            pub_export_macro: true,
            export_macro_name: "export",
        });
    }
}

pub mod driver;
pub mod inspector;
pub mod policy;

/// Keeps a thread busy and the optimizer away.
pub fn forever() -> ! {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns).wrapping_add(1);
    }
}

/// Takes memory until there is none.
pub fn eat_memory() -> u64 {
    let mut eaten = Vec::new();
    loop {
        eaten.push(vec![1u8; 1 << 20]);
        std::hint::black_box(&mut eaten);
    }
}

/// Uses stack until there is none.
pub fn dive(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { dive(depth + 1) + page.iter().sum::<u64>() }
}
