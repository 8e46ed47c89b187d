//! Lists that come in pages, item by item.

use std::collections::VecDeque;

use grove_wire::{Page, limits};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, Error};

/// Pages that are read of one list, at most: a farm that never ends its list is none.
const MAX_PAGES: usize = 10_000;

/// A list, read page by page as it is asked for.
#[derive(Debug)]
pub struct Pages<T> {
    client: Client,
    path: &'static str,
    query: Vec<(String, String)>,
    page_size: Option<usize>,
    buffer: VecDeque<T>,
    next: Next,
    pages: usize,
}

#[derive(Debug)]
enum Next {
    First,
    Cursor(String),
    End,
}

impl<T: DeserializeOwned> Pages<T> {
    pub(crate) fn new(client: &Client, path: &'static str, query: &impl Serialize) -> Self {
        Self {
            client: client.clone(),
            path,
            query: pairs(query),
            page_size: Some(limits::PAGE),
            buffer: VecDeque::new(),
            next: Next::First,
            pages: 0,
        }
    }

    /// The same list, beginning after this place.
    pub(crate) fn beginning_at(mut self, cursor: Option<String>) -> Self {
        self.next = cursor.map_or(Next::First, Next::Cursor);
        self
    }

    /// The same list, of which the farm sends everything at once.
    pub(crate) fn in_one_piece(mut self) -> Self {
        self.page_size = None;
        self
    }

    /// The next item; none after the last.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(item) = self.buffer.pop_front() {
                return Ok(Some(item));
            }
            let cursor = match &self.next {
                Next::First => None,
                Next::Cursor(cursor) => Some(cursor.clone()),
                Next::End => return Ok(None),
            };
            let page = self.page(cursor.as_deref()).await?;
            self.next = match page.next {
                Some(next) if Some(&next) == cursor.as_ref() => {
                    return Err(self.client.transport.protocol("a page that follows itself"));
                }
                Some(next) => Next::Cursor(next),
                None => Next::End,
            };
            self.buffer = page.items.into();
        }
    }

    /// Up to `most` of the items that are left.
    pub async fn take(&mut self, most: usize) -> Result<Vec<T>, Error> {
        // Not more is fetched than is asked for.
        self.page_size = self.page_size.map(|_| most.clamp(1, limits::PAGE));
        let mut items = Vec::new();
        while items.len() < most {
            match self.next().await? {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Ok(items)
    }

    /// All of the items that are left.
    pub async fn all(&mut self) -> Result<Vec<T>, Error> {
        self.take(usize::MAX).await
    }

    /// Whether the farm has more items than were taken.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty() || !matches!(self.next, Next::End)
    }

    async fn page(&mut self, cursor: Option<&str>) -> Result<Page<T>, Error> {
        self.pages += 1;
        if self.pages > MAX_PAGES {
            return Err(self.client.transport.protocol(format!("a list of more than {MAX_PAGES} pages")));
        }
        let call = self.client.v2(Method::GET, &[self.path]).query(&self.query);
        call.query(&[("limit", self.page_size)]).query(&[("cursor", cursor)]).json().await
    }
}

/// The set fields of a query, as they are written into an address.
fn pairs(query: &impl Serialize) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) else { return Vec::new() };
    fields
        .into_iter()
        .filter_map(|(name, value)| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some((name, text)),
            value => Some((name, value.to_string())),
        })
        .collect()
}
