//! The admin calls of librdkafka that its Rust client lacks, or strips of the broker's words. The only `unsafe` there is.
#![allow(unsafe_code, reason = "the calls exist in C only")]

mod access;
mod configs;
mod groups;
mod topics;

use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka_sys as rd;

pub(super) use self::access::{create_acls, describe_acls, scram_users};
pub(super) use self::configs::{Entry, alter_configs, broker_configs, topic_configs};
pub(super) use self::groups::{describe_groups, group_offsets, list_groups};
pub(super) use self::topics::{
    NewTopic, create_partitions, create_topics, delete_topic, describe_cluster, describe_topics,
};

/// The client gives an answer of its own when its time is up; this is for its way to us.
const GRACE: Duration = Duration::from_secs(1);

/// Why a call, or a part of it, was not done.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// The broker's, where it gave any.
    pub(super) words: String,
}

pub(super) type Answer<T = ()> = std::result::Result<T, Refusal>;

impl Refusal {
    fn new(code: Code, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Refusal {}

/// How a call is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    timeout: Duration,
    validate_only: bool,
    broker: Option<i32>,
}

impl Ask {
    pub(super) fn within(timeout: Duration) -> Self {
        Self { timeout, validate_only: false, broker: None }
    }

    /// The broker judges and changes nothing.
    pub(super) fn only_judging(self) -> Self {
        Self { validate_only: true, ..self }
    }

    pub(super) fn of_broker(self, id: i32) -> Self {
        Self { broker: Some(id), ..self }
    }
}

/// The handle of a client, which its borrow keeps alive.
#[derive(Clone, Copy)]
pub(super) struct Handle<'c> {
    raw: *mut rd::rd_kafka_t,
    client: PhantomData<&'c ()>,
}

impl<'c> Handle<'c> {
    pub(super) fn of<C: ClientContext>(client: &'c Client<C>) -> Self {
        Self { raw: client.native_ptr(), client: PhantomData }
    }
}

/// Sends what waits for a batch to fill, and waits until all is delivered or the time is up. The Rust client's own asks in
/// steps of 100 ms, and lets batches wait meanwhile.
pub(super) fn flush(client: Handle<'_>, within: Duration) {
    // SAFETY: the handle's borrow keeps the client alive. What is left is told by the count of messages in flight.
    let _ = unsafe { rd::rd_kafka_flush(client.raw, millis(within)) };
}

/// An object of the library that is ours to destroy.
struct Owned<T> {
    raw: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// # Safety
    /// `raw` is null, or from the constructor that `destroy` belongs to and owned by nobody else.
    unsafe fn new(raw: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self { raw, destroy })
    }

    fn raw(&self) -> *mut T {
        self.raw.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: by the promise to `new` this is the one owner and the fitting destructor, and it runs once.
        unsafe { (self.destroy)(self.raw.as_ptr()) }
    }
}

fn pointers<T>(owned: &[Owned<T>]) -> Vec<*mut T> {
    owned.iter().map(Owned::raw).collect()
}

/// Room for the library's words about a wrong argument.
struct Words([c_char; 512]);

impl Words {
    fn new() -> Self {
        Self([0; 512])
    }

    fn refusal(&self) -> Refusal {
        let bytes: Vec<u8> = self.0.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
        Refusal::new(Code::InvalidArgument, String::from_utf8_lossy(&bytes))
    }
}

fn c_text(text: &str) -> Answer<CString> {
    CString::new(text).map_err(|_| Refusal::new(Code::InvalidArgument, format!("'{}' has a NUL", text.escape_debug())))
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

/// # Safety
/// `text` is null or a C string that lives during the call.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: not null, and a C string by the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// What a code and its text say; the code has words of its own where the broker gave none.
///
/// # Safety
/// As for [`text`].
unsafe fn refusal(code: rd::rd_kafka_resp_err_t, words: *const c_char) -> Answer {
    if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let code = Code::from(code);
    // SAFETY: the caller's promise.
    let words = unsafe { text(words) }.filter(|words| !words.is_empty());
    Err(Refusal::new(code, words.unwrap_or_else(|| code.to_string())))
}

/// # Safety
/// `error` is null or an error that lives during the call.
unsafe fn error(error: *const rd::rd_kafka_error_t) -> Answer {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, and an error by the caller's promise; its text lives as long as it does.
    unsafe { refusal(rd::rd_kafka_error_code(error), rd::rd_kafka_error_string(error)) }
}

/// The elements of an answer.
///
/// # Safety
/// `result` is what `get` takes, alive as long as the elements are used.
unsafe fn list<R, E>(
    result: *const R,
    get: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const E,
) -> impl Iterator<Item = *const E> {
    let mut count = 0;
    // SAFETY: the caller's promise.
    let first = unsafe { get(result, &mut count) };
    let count = if first.is_null() { 0 } else { count };
    // SAFETY: the library gave an array of `count` pointers, which lives as long as `result`.
    (0..count).map(move |index| unsafe { *first.add(index) })
}

/// Makes one call on a queue of its own and reads its answer while the event that carries it lives.
///
/// An error here is of the call as a whole; the parts of an answer have their own.
fn call<R, T>(
    handle: Handle<'_>,
    op: rd::rd_kafka_admin_op_t,
    ask: Ask,
    issue: impl FnOnce(*mut rd::rd_kafka_t, *const rd::rd_kafka_AdminOptions_t, *mut rd::rd_kafka_queue_t),
    result: unsafe extern "C" fn(*mut rd::rd_kafka_event_t) -> *const R,
    read: impl FnOnce(*const R) -> T,
) -> Answer<T> {
    let none = |what: &str| Refusal::new(Code::Fail, format!("the client gave no {what}"));
    // SAFETY: the handle lives by its borrow; the queue is ours.
    let queue = unsafe { Owned::new(rd::rd_kafka_queue_new(handle.raw), rd::rd_kafka_queue_destroy) };
    let queue = queue.ok_or_else(|| none("queue"))?;
    let options = options(handle, op, ask)?;
    issue(handle.raw, options.raw(), queue.raw());
    // SAFETY: the queue lives; nobody else polls it, so the event is the answer to this call, and ours.
    let event = unsafe {
        Owned::new(rd::rd_kafka_queue_poll(queue.raw(), millis(ask.timeout + GRACE)), rd::rd_kafka_event_destroy)
    };
    let event = event.ok_or_else(|| Refusal::new(Code::OperationTimedOut, "no answer in time"))?;
    // SAFETY: the event lives.
    let code = unsafe { rd::rd_kafka_event_error(event.raw()) };
    let borrowed = op == rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEUSERSCRAMCREDENTIALS;
    if borrowed && code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        // The library puts in a text from a stack that is gone, and would free it: it is not read, and the event stays.
        std::mem::forget(event);
        let code = Code::from(code);
        return Err(Refusal::new(code, code.to_string()));
    }
    // SAFETY: the event lives, and its text with it.
    unsafe { refusal(rd::rd_kafka_event_error(event.raw()), rd::rd_kafka_event_error_string(event.raw()))? };
    // SAFETY: the event lives; of another type it gives null.
    let answer = unsafe { result(event.raw()) };
    if answer.is_null() {
        return Err(none("answer of this call"));
    }
    Ok(read(answer))
}

fn options(handle: Handle<'_>, op: rd::rd_kafka_admin_op_t, ask: Ask) -> Answer<Owned<rd::rd_kafka_AdminOptions_t>> {
    use rd::rd_kafka_admin_op_t as Op;
    // SAFETY: the handle lives by its borrow; the options are ours.
    let options =
        unsafe { Owned::new(rd::rd_kafka_AdminOptions_new(handle.raw, op), rd::rd_kafka_AdminOptions_destroy) };
    let options = options.ok_or_else(|| Refusal::new(Code::Fail, "the client does not know the call"))?;
    let mut words = Words::new();
    let (raw, timeout, buffer, room) = (options.raw(), millis(ask.timeout), words.0.as_mut_ptr(), words.0.len());
    // Until it is so on all brokers, not only written down.
    let waits = matches!(
        op,
        Op::RD_KAFKA_ADMIN_OP_CREATETOPICS
            | Op::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS
            | Op::RD_KAFKA_ADMIN_OP_DELETETOPICS
    );
    // SAFETY: the options live, and the library writes no more than `room` bytes of words.
    let codes = unsafe {
        [
            Some(rd::rd_kafka_AdminOptions_set_request_timeout(raw, timeout, buffer, room)),
            waits.then(|| rd::rd_kafka_AdminOptions_set_operation_timeout(raw, timeout, buffer, room)),
            ask.validate_only.then(|| rd::rd_kafka_AdminOptions_set_validate_only(raw, 1, buffer, room)),
            ask.broker.map(|id| rd::rd_kafka_AdminOptions_set_broker(raw, id, buffer, room)),
        ]
    };
    let fine = |code: &rd::rd_kafka_resp_err_t| *code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    if codes.iter().flatten().all(fine) { Ok(options) } else { Err(words.refusal()) }
}
