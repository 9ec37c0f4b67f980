// SPDX-License-Identifier: Apache-2.0
//! An ERC-20 token with an owner who can mint.
//!
//! It has the interface of `examples/contracts/Token.sol`, and is called in the same way: by a selector and
//! arguments as in the ABI of Solidity. What is different is how a payment meets its receiver: the balance is added
//! to without being read, so that any number of payments to one account run at the same time.
//!
//! Amounts are unsigned integers of 256 bits, the highest byte first, as they stand in calls and in the state.
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

// ---- the host ---------------------------------------------------------------------------------------------------

mod host {
    #[link(wasm_import_module = "parsec")]
    extern "C" {
        pub fn input_size() -> usize;
        pub fn input(to: *mut u8, offset: usize, size: usize);
        pub fn output(start: *const u8, size: usize);
        pub fn revert(start: *const u8, size: usize);
        pub fn caller(to: *mut u8);
        pub fn value(to: *mut u8);
        pub fn read(key: *const u8, key_size: usize, to: *mut u8, most: usize) -> usize;
        pub fn write(key: *const u8, key_size: usize, start: *const u8, size: usize);
        pub fn add(key: *const u8, key_size: usize, amount: *const u8);
        pub fn log(topics: *const u8, count: usize, start: *const u8, size: usize);
    }
}

type Address = [u8; 20];
type Amount = [u8; 32];

/// Names and symbols may be as long as this, in bytes.
const TEXT_MAX: usize = 64;

fn caller() -> Address {
    let mut address = [0; 20];
    unsafe { host::caller(address.as_mut_ptr()) };
    address
}

fn output(data: &[u8]) {
    unsafe { host::output(data.as_ptr(), data.len()) };
}

fn revert(data: &[u8]) -> ! {
    unsafe { host::revert(data.as_ptr(), data.len()) };
    core::arch::wasm32::unreachable()
}

fn read(key: &[u8], to: &mut [u8]) -> usize {
    unsafe { host::read(key.as_ptr(), key.len(), to.as_mut_ptr(), to.len()) }
}

fn write(key: &[u8], value: &[u8]) {
    unsafe { host::write(key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
}

// ---- amounts ----------------------------------------------------------------------------------------------------

const ZERO: Amount = [0; 32];
const UNLIMITED: Amount = [0xff; 32];

/// The sum, or None if it has more than 256 bits.
fn plus(left: &Amount, right: &Amount) -> Option<Amount> {
    let (mut sum, mut carry) = (ZERO, 0);
    for index in (0..32).rev() {
        let digit = left[index] as u16 + right[index] as u16 + carry;
        sum[index] = digit as u8;
        carry = digit >> 8;
    }
    (carry == 0).then_some(sum)
}

/// The difference, or None if it would be below zero.
fn minus(left: &Amount, right: &Amount) -> Option<Amount> {
    let (mut difference, mut borrow) = (ZERO, 0);
    for index in (0..32).rev() {
        let digit = left[index] as i16 - right[index] as i16 - borrow;
        difference[index] = digit as u8;
        borrow = (digit < 0) as i16;
    }
    (borrow == 0).then_some(difference)
}

/// An integer in the state has no zeros in front, and isn't there if it is zero.
fn read_amount(key: &[u8]) -> Amount {
    let (mut value, mut amount) = ([0; 32], ZERO);
    let size = read(key, &mut value).min(32);
    amount[32 - size..].copy_from_slice(&value[..size]);
    amount
}

fn write_amount(key: &[u8], amount: &Amount) {
    let zeros = amount.iter().take_while(|&&byte| byte == 0).count();
    write(key, &amount[zeros..]);
}

fn add_amount(key: &[u8], amount: &Amount) {
    unsafe { host::add(key.as_ptr(), key.len(), amount.as_ptr()) };
}

// ---- the ABI of Solidity ----------------------------------------------------------------------------------------

/// Gives up with `Error(string)`; the words have at most 32 bytes.
fn fail(words: &str) -> ! {
    let mut data = [0; 100];
    data[..4].copy_from_slice(&[0x08, 0xc3, 0x79, 0xa0]);
    data[35] = 32;
    data[67] = words.len() as u8;
    data[68..68 + words.len()].copy_from_slice(words.as_bytes());
    revert(&data)
}

/// Words of 32 bytes after the first `skipped` bytes of the call's data.
fn words<const COUNT: usize>(skipped: usize) -> [Amount; COUNT] {
    let mut words = [ZERO; COUNT];
    unsafe {
        if host::input_size() < skipped + 32 * COUNT {
            revert(&[]);
        }
        host::input(words.as_mut_ptr().cast(), skipped, 32 * COUNT);
    }
    words
}

fn address(word: &Amount) -> Address {
    if word[..12] != [0; 12] {
        revert(&[]);
    }
    word[12..].try_into().unwrap()
}

fn word(address: &Address) -> Amount {
    let mut word = ZERO;
    word[12..].copy_from_slice(address);
    word
}

fn small(word: &Amount) -> usize {
    if word[..28] != [0; 28] {
        revert(&[]);
    }
    u32::from_be_bytes(word[28..].try_into().unwrap()) as usize
}

fn output_true() {
    let mut word = ZERO;
    word[31] = 1;
    output(&word);
}

fn output_text(key: &[u8]) {
    let mut data = [0; 64 + TEXT_MAX];
    let size = read(key, &mut data[64..]);
    data[31] = 32;
    data[63] = size as u8;
    output(&data[..64 + (size + 31) / 32 * 32]);
}

/// Stores a string whose offset is given by a word of the arguments.
fn store_text(key: &[u8], offset: &Amount) {
    let offset = small(offset);
    let mut text = [0; TEXT_MAX];
    unsafe {
        let total = host::input_size();
        if offset > total || total - offset < 32 {
            revert(&[]);
        }
        let mut length = ZERO;
        host::input(length.as_mut_ptr(), offset, 32);
        let size = small(&length);
        if size > TEXT_MAX {
            fail("Token: text too long");
        }
        if total - offset - 32 < size {
            revert(&[]);
        }
        host::input(text.as_mut_ptr(), offset + 32, size);
        write(key, &text[..size]);
    }
}

// ---- state and events -------------------------------------------------------------------------------------------

const NAME: &[u8] = b"name";
const SYMBOL: &[u8] = b"symbol";
const DECIMALS: &[u8] = b"decimals";
const OWNER: &[u8] = b"owner";
const SUPPLY: &[u8] = b"supply";

fn balance_key(account: &Address) -> [u8; 21] {
    let mut key = [b'b'; 21];
    key[1..].copy_from_slice(account);
    key
}

fn allowance_key(holder: &Address, spender: &Address) -> [u8; 41] {
    let mut key = [b'a'; 41];
    key[1..21].copy_from_slice(holder);
    key[21..].copy_from_slice(spender);
    key
}

const TRANSFER: Amount = [
    0xdd, 0xf2, 0x52, 0xad, 0x1b, 0xe2, 0xc8, 0x9b, 0x69, 0xc2, 0xb0, 0x68, 0xfc, 0x37, 0x8d, 0xaa, 0x95, 0x2b, 0xa7,
    0xf1, 0x63, 0xc4, 0xa1, 0x16, 0x28, 0xf5, 0x5a, 0x4d, 0xf5, 0x23, 0xb3, 0xef,
];
const APPROVAL: Amount = [
    0x8c, 0x5b, 0xe1, 0xe5, 0xeb, 0xec, 0x7d, 0x5b, 0xd1, 0x4f, 0x71, 0x42, 0x7d, 0x1e, 0x84, 0xf3, 0xdd, 0x03, 0x14,
    0xc0, 0xf7, 0xb2, 0x29, 0x1e, 0x5b, 0x20, 0x0a, 0xc8, 0xc7, 0xc3, 0xb9, 0x25,
];

fn log(event: &Amount, from: &Address, to: &Address, amount: &Amount) {
    let topics = [*event, word(from), word(to)];
    unsafe { host::log(topics.as_ptr().cast(), 3, amount.as_ptr(), 32) };
}

// ---- the token --------------------------------------------------------------------------------------------------

const NOBODY: Address = [0; 20];

fn transfer(from: &Address, to: &Address, amount: &Amount) {
    if *to == NOBODY {
        fail("transfer to the zero address");
    }
    let key = balance_key(from);
    match minus(&read_amount(&key), amount) {
        Some(rest) => write_amount(&key, &rest),
        None => fail("insufficient balance"),
    }
    // No sum of balances is larger than the supply, which has 256 bits.
    add_amount(&balance_key(to), amount);
    log(&TRANSFER, from, to, amount);
}

fn spend(holder: &Address, spender: &Address, amount: &Amount) {
    let key = allowance_key(holder, spender);
    let allowed = read_amount(&key);
    if allowed == UNLIMITED {
        return;
    }
    match minus(&allowed, amount) {
        Some(rest) => write_amount(&key, &rest),
        None => fail("insufficient allowance"),
    }
}

fn mint(to: &Address, amount: &Amount) {
    if *to == NOBODY {
        fail("mint to the zero address");
    }
    match plus(&read_amount(SUPPLY), amount) {
        Some(supply) => write_amount(SUPPLY, &supply),
        None => fail("supply too large"),
    }
    add_amount(&balance_key(to), amount);
    log(&TRANSFER, &NOBODY, to, amount);
}

fn refuse_payment() {
    let mut wei = ZERO;
    unsafe { host::value(wei.as_mut_ptr()) };
    if wei != ZERO {
        revert(&[]);
    }
}

/// The constructor: `(string name, string symbol, uint8 decimals, uint256 supply)`.
#[no_mangle]
pub extern "C" fn deploy() {
    refuse_payment();
    let [name, symbol, decimals, supply] = words(0);
    if decimals[..31] != [0; 31] {
        revert(&[]);
    }
    store_text(NAME, &name);
    store_text(SYMBOL, &symbol);
    write(DECIMALS, &decimals[31..]);
    write(OWNER, &caller());
    mint(&caller(), &supply);
}

#[no_mangle]
pub extern "C" fn call() {
    refuse_payment();
    let mut selector = [0; 4];
    unsafe {
        if host::input_size() < 4 {
            revert(&[]);
        }
        host::input(selector.as_mut_ptr(), 0, 4);
    }
    match u32::from_be_bytes(selector) {
        // transfer(address,uint256)
        0xa9059cbb => {
            let [to, amount] = words(4);
            transfer(&caller(), &address(&to), &amount);
            output_true();
        }
        // transferFrom(address,address,uint256)
        0x23b872dd => {
            let [from, to, amount] = words(4);
            let from = address(&from);
            spend(&from, &caller(), &amount);
            transfer(&from, &address(&to), &amount);
            output_true();
        }
        // approve(address,uint256)
        0x095ea7b3 => {
            let [spender, amount] = words(4);
            let spender = address(&spender);
            if spender == NOBODY {
                fail("approve to the zero address");
            }
            write_amount(&allowance_key(&caller(), &spender), &amount);
            log(&APPROVAL, &caller(), &spender, &amount);
            output_true();
        }
        // balanceOf(address)
        0x70a08231 => {
            let [account] = words(4);
            output(&read_amount(&balance_key(&address(&account))));
        }
        // allowance(address,address)
        0xdd62ed3e => {
            let [holder, spender] = words(4);
            output(&read_amount(&allowance_key(&address(&holder), &address(&spender))));
        }
        // totalSupply()
        0x18160ddd => output(&read_amount(SUPPLY)),
        // name()
        0x06fdde03 => output_text(NAME),
        // symbol()
        0x95d89b41 => output_text(SYMBOL),
        // decimals()
        0x313ce567 => output(&read_amount(DECIMALS)),
        // owner()
        0x8da5cb5b => output(&read_amount(OWNER)),
        // mint(address,uint256)
        0x40c10f19 => {
            let [to, amount] = words(4);
            if word(&caller()) != read_amount(OWNER) {
                fail("not the owner");
            }
            mint(&address(&to), &amount);
        }
        _ => revert(&[]),
    }
}
