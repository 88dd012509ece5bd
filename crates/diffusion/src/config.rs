//! Reading a scheduler_config.json.

use std::fmt;

use serde_json::Value;

use crate::DiffusionError;

pub(crate) fn wrong(field: &'static str, found: impl fmt::Display, expected: &str) -> DiffusionError {
    DiffusionError::Setting { field, found: found.to_string(), expected: expected.into() }
}

/// The fields of a configuration; absent or null ones take a default.
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

impl<'a> Fields<'a> {
    pub(crate) fn get(&self, field: &str) -> &'a Value {
        self.0.get(field).unwrap_or(&Value::Null)
    }

    /// The value if it is there; `read` gives nothing for a value of the wrong kind.
    fn or<T>(
        &self,
        field: &'static str,
        default: T,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, DiffusionError> {
        match self.get(field) {
            Value::Null => Ok(default),
            value => read(value).ok_or_else(|| wrong(field, value, expected)),
        }
    }

    pub(crate) fn text(&self, field: &'static str, default: &'a str) -> Result<&'a str, DiffusionError> {
        self.or(field, default, "text", Value::as_str)
    }

    pub(crate) fn number(&self, field: &'static str, default: f64) -> Result<f64, DiffusionError> {
        self.or(field, default, "a number", Value::as_f64)
    }

    pub(crate) fn count(&self, field: &'static str, default: usize) -> Result<usize, DiffusionError> {
        self.or(field, default, "a whole number", |v| v.as_u64().and_then(|v| usize::try_from(v).ok()))
    }

    pub(crate) fn flag(&self, field: &'static str, default: bool) -> Result<bool, DiffusionError> {
        self.or(field, default, "true or false", Value::as_bool)
    }
}
