//! A driver that works, and tells back what it was told. It can switch power and take an inventory.

use kit::driver::{Access, Driver, Failure, Health, Pair, Session, Target, access, log, reading, task};

mod bindings {
    wit_bindgen::generate!({
        path: "../../../../wit",
        inline: "package test:echo; world abilities {
            export grove:plugin/power@0.1.0;
            export grove:plugin/introspect@0.1.0;
        }",
        world: "test:echo/abilities",
        with: {
            "grove:plugin/types@0.1.0": kit::bindings::driver::grove::plugin::types,
            "grove:plugin/driver-types@0.1.0": kit::bindings::driver::grove::plugin::driver_types,
        },
    });
}

use bindings::exports::grove::plugin::{introspect, power};

struct Echo;

impl Driver for Echo {
    fn validate(config: String) -> Result<(), String> {
        if config.contains("bad") { Err("`bad` is not good".to_owned()) } else { Ok(()) }
    }

    fn check(t: Target) -> Result<Health, Failure> {
        println!("checked on stdout");
        eprint!("and on stderr, without a newline");
        log::log(log::Level::Debug, "checked in the log");
        let mut readings = t.capabilities;
        readings.push(reading("arguments", std::env::args().count()));
        readings.push(reading("environment", std::env::vars().count()));
        readings.push(reading("root", std::fs::read_dir("/").is_ok()));
        Ok(Health { ok: true, note: t.config, readings })
    }

    fn prepare(t: Target) -> Result<Access, Failure> {
        task::step("wipe").map_err(|_| Failure::Stopped)?;
        task::progress(50, "half way").map_err(|_| Failure::Stopped)?;
        task::step("boot").map_err(|_| Failure::Stopped)?;
        task::sleep_ms(5).map_err(|_| Failure::Stopped)?;
        match t.config.as_str() {
            "device" => Err(Failure::Device("it smokes".to_owned())),
            "config" => Err(Failure::Config("no such pin".to_owned())),
            "environment" => Err(Failure::Environment("no power in the rack".to_owned())),
            "unsupported" => Err(Failure::Unsupported("not this board".to_owned())),
            _ => Ok(access()),
        }
    }

    fn authorize(_t: Target, s: Session) -> Result<Access, Failure> {
        Ok(Access { user: s.user, host_keys: s.authorized_keys, ..access() })
    }

    fn put_in_maintenance(_t: Target, message: String) -> Result<(), Failure> {
        log::log(log::Level::Info, &message);
        Ok(())
    }
}

impl power::Guest for Echo {
    fn set(_t: Target, a: power::Action) -> Result<(), Failure> {
        log::log(log::Level::Info, &format!("power {a:?}"));
        Ok(())
    }
}

impl introspect::Guest for Echo {
    fn inventory(t: Target) -> Result<String, Failure> {
        let of = |Pair { key, value }: &Pair| format!("{key:?}:{value:?}");
        Ok(format!("{{{}}}", t.capabilities.iter().map(of).collect::<Vec<_>>().join(",")))
    }
}

bindings::export!(Echo with_types_in bindings);
kit::driver!(Echo);
