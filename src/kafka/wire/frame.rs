//! The bytes of requests and answers. A reader never goes beyond what is there: it gives `None`.

/// What is left of an answer.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn int8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(super) fn int16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn varint(&mut self) -> Option<u32> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let part = u32::from(byte & 0x7f);
            if shift == 28 && part > 0x0f {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The length of a compact string or array; one that is null is empty.
    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?.saturating_sub(1)).ok()
    }

    pub(super) fn compact_text(&mut self) -> Option<&'a str> {
        let count = self.count()?;
        std::str::from_utf8(self.take(count)?).ok()
    }

    /// A string of the older kind; one that is null is empty.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        match self.int16()? {
            -1 => Some(""),
            count => std::str::from_utf8(self.take(usize::try_from(count).ok()?)?).ok(),
        }
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.int32()?).ok()?;
        self.take(count)
    }

    /// Passes over tagged fields.
    pub(super) fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let count = usize::try_from(self.varint()?).ok()?;
            self.take(count)?;
        }
        Some(())
    }
}

/// Appends a text after its length. One that is too long for it is sent with a wrong one, and refused.
pub(super) fn put_text(request: &mut Vec<u8>, text: &str) {
    request.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    request.extend(text.as_bytes());
}

/// Appends a compact text: its length and one more as a varint, and its bytes.
pub(super) fn put_compact(request: &mut Vec<u8>, text: &str) {
    let mut left = text.len() + 1;
    while left > 0x7f {
        request.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    request.push(left as u8);
    request.extend(text.as_bytes());
}

pub(super) fn put_bytes(request: &mut Vec<u8>, bytes: &[u8]) {
    request.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    request.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_width_end_where_they_should() {
        let cases: [(&[u8], Option<u32>); 6] = [
            (&[0], Some(0)),
            (&[0xac, 0x02], Some(300)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], None),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], None),
            (&[0x80], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Reader::new(bytes).varint(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_nothing() {
        assert_eq!(Reader::new(&[3, b'a']).compact_text(), None);
        assert_eq!(Reader::new(&[0]).compact_text(), Some(""));
        assert_eq!(Reader::new(&[0, 1, b'a', b'b']).text(), Some("a"));
        assert_eq!(Reader::new(&[0x80, 0, b'a']).text(), None);
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff]).bytes(), None);
        assert_eq!(Reader::new(&[1, 7, 9, 0]).tags(), None);
    }
}
