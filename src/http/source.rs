//! The export behind the legacy's port.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::client::Client;
use crate::base::{Error, Result};
use crate::document::{Layout, Tables};
use crate::mapping::fit::Unmapped;
use crate::mapping::{Mapping, Types};
use crate::port::held_rows::HeldRows;
use crate::port::legacy_source::{LegacySource, Snapshot, Wake};

/// How a server lists its documents.
#[derive(Clone, Copy, Debug)]
pub struct Export {
    /// The path of the list; it takes `page` and `limit`, and further parameters that give it a lasting order.
    pub list: &'static str,
    pub order: &'static str,
    pub items: &'static str,
    pub total: &'static str,
    pub id: &'static str,
    /// The path of one document is the list's, the id, and this.
    pub document: &'static str,
    /// Ids that begin so are the server's own invention.
    pub invented: &'static str,
    /// A list of so many, whose items have this member as null, is cut there: by a backend that must be read itself.
    pub cut: (u64, &'static str),
}

/// Documents of a server.
pub struct HttpSource {
    client: Client,
    export: Export,
    mapping: Arc<Mapping>,
    layout: Layout,
}

/// Items of one page.
const PAGE: usize = 50;
/// How often a list that changes under the reading is begun again.
const LISTS: u32 = 5;

impl HttpSource {
    /// Asks nothing yet.
    pub fn open(url: &str, mapping: Arc<Mapping>, layout: Layout, export: Export) -> Result<Self> {
        mapping.types.require(Types::Sqlite)?;
        Ok(Self { client: Client::new(url), export, mapping, layout })
    }

    /// The ids of all documents. Pages are read in the order they were made, so that what comes meanwhile comes last; when
    /// what went meanwhile has moved the rest, all is read again.
    fn ids(&self) -> Result<BTreeSet<String>> {
        let mut why = String::new();
        for _ in 0..LISTS {
            match self.listed()? {
                Ok(ids) => return Ok(ids),
                Err(changed) => why = changed,
            }
        }
        Err(Error::connect(format!("the list of {} changes faster than it can be read: {why}", self.client.url))
            .hint("try again when less is going on"))
    }

    fn listed(&self) -> Result<std::result::Result<BTreeSet<String>, String>> {
        let Export { list, order, items, total, id, invented, cut, .. } = self.export;
        let (mut ids, mut seen, mut said, mut null) = (BTreeSet::new(), 0, 0, false);
        for page in 1.. {
            let path = format!("{list}?page={page}&limit={PAGE}{order}");
            let answer = self.client.get(&path)?;
            let wrong = || {
                Error::connect(format!("{}{list} is no list of sessions", self.client.url))
                    .hint("check legacy.store: it is the address of the server, as http://127.0.0.1:4001")
            };
            let answer = answer.ok_or_else(wrong)?;
            let found = answer[items].as_array().ok_or_else(wrong)?;
            let now = answer[total].as_u64().ok_or_else(wrong)?;
            if page > 1 && now < said {
                return Ok(Err(format!("{said} became {now}")));
            }
            said = now;
            if found.is_empty() {
                break;
            }
            seen += found.len() as u64;
            for item in found {
                null |= item.get(cut.1).is_some_and(Json::is_null);
                ids.insert(item[id].as_str().ok_or_else(wrong)?.to_owned());
            }
            // Asked by the count, a page that is not full could be the last; only an empty one says so.
        }
        if said == cut.0 && null {
            return Err(Error::refused(format!("{} lists {said} sessions and hides the rest", self.client.url))
                .hint("its store is PostgreSQL: read that, with legacy.store: postgres://…"));
        }
        if ids.len() as u64 != seen || seen < said {
            return Ok(Err(format!("{} of {said} were listed", ids.len())));
        }
        ids.retain(|id| !id.starts_with(invented));
        Ok(Ok(ids))
    }

    fn document(&self, id: &str) -> Result<Option<Json>> {
        self.client.get(&format!("{}/{}{}", self.export.list, encoded(id), self.export.document))
    }
}

/// An id as part of a path.
fn encoded(id: &str) -> String {
    id.bytes().fold(String::new(), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(byte)),
            _ => path += &format!("%{byte:02X}"),
        }
        path
    })
}

impl LegacySource for HttpSource {
    fn kind(&self) -> &'static str {
        "http"
    }

    fn describe(&self) -> String {
        self.client.url.clone()
    }

    fn check(&self) -> Result<Vec<Unmapped>> {
        Tables::check(&self.mapping, self.layout, &self.client.url)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let mut tables = Tables::new(&self.mapping, self.layout);
        let mut gone = Vec::new();
        for id in self.ids()? {
            let Some(document) = self.document(&id)? else {
                gone.push(id);
                continue;
            };
            if !tables.add(&document) {
                let message = format!(
                    "{} exports session {} in a shape that is not known",
                    self.client.url,
                    crate::scan::mask(&id)
                );
                return Err(Error::refused(message).hint("is it the monitor's server, of a version this tool knows?"));
            }
        }
        let listed = if gone.is_empty() { BTreeSet::new() } else { self.ids()? };
        if let Some(id) = gone.iter().find(|id| listed.contains(*id)) {
            let message = format!("{} lists session {} and does not export it", self.client.url, crate::scan::mask(id));
            return Err(Error::connect(message).hint("nothing was taken from the server: it would count as deleted"));
        }
        Ok(Box::new(HeldRows::new(Arc::clone(&self.mapping), tables.sorted()?)))
    }

    fn retained_bytes(&self) -> u64 {
        0
    }

    fn blind(&self) -> Vec<String> {
        [
            "what the server held between two passes",
            "all sessions at one moment: each is exported at its own",
            "rows of sessions the server does not list: messages to an unknown one are readable nowhere",
            "why a session went: a server that was restarted has forgotten all of them",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn wake(&self) -> Result<Option<Box<dyn Wake>>> {
        Ok(Some(Box::new(Untold)))
    }
}

/// A server that does not tell of changes: each pass must look.
struct Untold;

impl Wake for Untold {
    fn wait(&mut self, at_most: Duration) -> Result<bool> {
        std::thread::sleep(at_most);
        Ok(true)
    }
}
