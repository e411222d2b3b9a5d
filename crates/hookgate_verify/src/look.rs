//! A request while it is looked at: its body is parsed once, and only if something asks for what is in it.

use std::cell::OnceCell;

use crate::{
    body::{self, View},
    place::{Locator, Place},
    request::Request,
};

pub(crate) struct Look<'r> {
    pub(crate) request: &'r Request,
    json_field: &'r str,
    view: OnceCell<Option<View>>,
}

impl<'r> Look<'r> {
    pub(crate) fn new(request: &'r Request, json_field: &'r str) -> Self {
        Self { request, json_field, view: OnceCell::new() }
    }

    pub(crate) fn view(&self) -> Option<&View> {
        self.view.get_or_init(|| body::view(self.request, self.json_field).ok()).as_ref()
    }

    pub(crate) fn find(&self, locator: &Locator) -> Option<String> {
        let view = if locator.looks_inside() { self.view() } else { None };
        locator.find(self.request, view)
    }

    /// Every alternative that is there.
    pub(crate) fn find_all(&self, locator: &Locator) -> Vec<String> {
        let view = if locator.looks_inside() { self.view() } else { None };
        locator.find_all(self.request, view)
    }

    pub(crate) fn find_place(&self, place: &Place) -> Option<String> {
        let view = if place.looks_inside() { self.view() } else { None };
        place.find(self.request, view)
    }
}
