//! Legacy stores that hand out documents: session files, and a server's export.

mod files;
mod http;
