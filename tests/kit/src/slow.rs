//! A small component that a compiler works on for minutes, with gigabytes: one function with a thousand variables, and
//! in it thousands of loops with branches out of them.

/// Writes it; `number` makes it another one.
pub fn to_compile(number: u8) -> Vec<u8> {
    // One function type: no parameters, no results.
    let types = [1, 0x60, 0, 0];
    let mut body = vec![1];
    // A thousand variables of 32 bits.
    leb(&mut body, 1000);
    body.push(0x7f);
    for _ in 0..60 {
        body.extend([0x03, 0x40].repeat(2000));
        for branch in 0..1000 {
            // local.get, br_if
            body.push(0x20);
            leb(&mut body, branch);
            body.push(0x0d);
            leb(&mut body, branch);
        }
        body.extend([0x0b].repeat(2000));
    }
    // i32.const, drop
    body.extend([0x41, number & 0x3f, 0x1a]);
    body.push(0x0b);
    let mut code = vec![1];
    leb(&mut code, body.len());
    code.extend(body);

    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &types);
    section(&mut module, 3, &[1, 0]);
    section(&mut module, 10, &code);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, &module);
    component
}

fn section(into: &mut Vec<u8>, number: u8, body: &[u8]) {
    into.push(number);
    leb(into, body.len());
    into.extend(body);
}

/// A number as WebAssembly writes it.
fn leb(into: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}
