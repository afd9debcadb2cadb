//! Records as frames, and frames as checked, compressed blobs.
//!
//! Numbers are LEB128. A frame is: zigzag difference of its timestamp to that of the frame before (to 0 for the first),
//! length and bytes of key and value, count of headers, and for each header the number of its name, length and bytes of
//! its value. The number is 0 for a name spelled out (length and bytes), which then takes the next number from 1 on while
//! there are fewer than 64.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

const NAMES: usize = 64;
const CODEC_FRAMES: u8 = 0;
const CODEC_LZ4: u8 = 1;
/// No LZ4 block grows by more than this factor, so a longer length is damage, not a reason to allocate.
const LZ4_FACTOR: usize = 255;

/// Frames of one partition under way.
#[derive(Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    names: Vec<Box<str>>,
    count: u32,
    first: i64,
    last: i64,
}

/// A batch as it is stored.
pub(super) struct Sealed {
    pub(super) count: u32,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) codec: u8,
    pub(super) checksum: i64,
    pub(super) blob: Vec<u8>,
}

impl Frames {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.names.clear();
        (self.count, self.first, self.last) = (0, 0, 0);
    }

    pub(super) fn push(&mut self, timestamp: i64, key: &[u8], value: &[u8], headers: &[(&str, &[u8])]) {
        if self.count == 0 {
            self.first = timestamp;
        }
        let step = timestamp.wrapping_sub(self.last);
        self.number(((step << 1) ^ (step >> 63)).cast_unsigned());
        self.last = timestamp;
        self.count += 1;
        self.sized(key);
        self.sized(value);
        self.number(headers.len() as u64);
        for (name, value) in headers {
            match self.names.iter().position(|known| **known == **name) {
                Some(index) => self.number(index as u64 + 1),
                None => {
                    self.number(0);
                    self.sized(name.as_bytes());
                    if self.names.len() < NAMES {
                        self.names.push((*name).into());
                    }
                }
            }
            self.sized(value);
        }
    }

    /// Closes the batch and starts an empty one. `scratch` is kept for its memory only.
    pub(super) fn seal(&mut self, scratch: &mut Vec<u8>) -> Sealed {
        let bound = 4 + lz4_flex::block::get_maximum_output_size(self.bytes.len());
        if scratch.len() < bound {
            scratch.resize(bound, 0);
        }
        let packed =
            match (u32::try_from(self.bytes.len()), lz4_flex::block::compress_into(&self.bytes, &mut scratch[4..])) {
                (Ok(length), Ok(packed)) if 4 + packed < self.bytes.len() => {
                    scratch[..4].copy_from_slice(&length.to_le_bytes());
                    Some(4 + packed)
                }
                _ => None,
            };
        let (codec, blob) = match packed {
            Some(length) => (CODEC_LZ4, scratch[..length].to_vec()),
            None => (CODEC_FRAMES, self.bytes.clone()),
        };
        let checksum = checksum(&blob);
        let sealed = Sealed { count: self.count, first_ms: self.first, last_ms: self.last, codec, checksum, blob };
        self.clear();
        sealed
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }
}

fn checksum(blob: &[u8]) -> i64 {
    xxh3_64(blob).cast_signed()
}

/// Puts the frames of a blob into `frames`; the error says what does not fit.
pub(super) fn unpack(codec: i64, expected: i64, blob: &[u8], frames: &mut Vec<u8>) -> Result<(), &'static str> {
    if checksum(blob) != expected {
        return Err("its checksum does not fit");
    }
    frames.clear();
    match u8::try_from(codec) {
        Ok(CODEC_FRAMES) => frames.extend_from_slice(blob),
        Ok(CODEC_LZ4) => {
            let (length, block) = blob.split_first_chunk::<4>().ok_or("it is too short")?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > block.len().saturating_mul(LZ4_FACTOR) {
                return Err("its length does not fit");
            }
            frames.resize(length, 0);
            let unpacked = lz4_flex::block::decompress_into(block, frames).map_err(|_| "it cannot be unpacked")?;
            frames.truncate(unpacked);
        }
        _ => return Err("its codec is not known"),
    }
    Ok(())
}

/// Walks the frames of one unpacked blob.
#[derive(Default)]
pub(super) struct Cursor {
    at: usize,
    timestamp: i64,
    names: Vec<Range<usize>>,
}

/// A frame, lent from the unpacked blob; its headers come separately.
pub(super) struct Frame<'a> {
    pub(super) timestamp: i64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Cursor {
    /// Starts at the first frame again, for another blob.
    pub(super) fn reset(&mut self) {
        self.names.clear();
        (self.at, self.timestamp) = (0, 0);
    }

    pub(super) fn at_end(&self, frames: &[u8]) -> bool {
        self.at == frames.len()
    }

    /// The next frame, its headers in `headers`; `None` when the bytes make none.
    pub(super) fn next<'a>(&mut self, frames: &'a [u8], headers: &mut Vec<(&'a [u8], &'a [u8])>) -> Option<Frame<'a>> {
        headers.clear();
        let step = self.number(frames)?;
        let step = (step >> 1).cast_signed() ^ -((step & 1).cast_signed());
        self.timestamp = self.timestamp.wrapping_add(step);
        let key = self.sized(frames)?;
        let value = self.sized(frames)?;
        for _ in 0..self.number(frames)? {
            let name = match self.number(frames)? {
                0 => {
                    let name = self.sized(frames)?;
                    if self.names.len() < NAMES {
                        self.names.push(name.clone());
                    }
                    name
                }
                number => self.names.get(usize::try_from(number - 1).ok()?)?.clone(),
            };
            let value = self.sized(frames)?;
            headers.push((&frames[name], &frames[value]));
        }
        Some(Frame { timestamp: self.timestamp, key: &frames[key], value: &frames[value] })
    }

    fn number(&mut self, frames: &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *frames.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn sized(&mut self, frames: &[u8]) -> Option<Range<usize>> {
        let length = usize::try_from(self.number(frames)?).ok()?;
        let end = self.at.checked_add(length).filter(|end| *end <= frames.len())?;
        let range = self.at..end;
        self.at = end;
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Record = (i64, Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

    fn record() -> impl Strategy<Value = Record> {
        let header = ("[a-e]{0,2}|\\PC{0,6}", vec(any::<u8>(), 0..12));
        (any::<i64>(), vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..300), vec(header, 0..8))
    }

    fn seal(records: &[Record]) -> Sealed {
        let mut frames = Frames::default();
        for (timestamp, key, value, headers) in records {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            frames.push(*timestamp, key, value, &headers);
        }
        frames.seal(&mut Vec::new())
    }

    fn open(sealed: &Sealed) -> Option<Vec<Record>> {
        let mut frames = Vec::new();
        unpack(sealed.codec.into(), sealed.checksum, &sealed.blob, &mut frames).ok()?;
        let (mut cursor, mut headers, mut records) = (Cursor::default(), Vec::new(), Vec::new());
        for _ in 0..sealed.count {
            let frame = cursor.next(&frames, &mut headers)?;
            let headers =
                headers.iter().map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()));
            records.push((frame.timestamp, frame.key.to_vec(), frame.value.to_vec(), headers.collect()));
        }
        cursor.at_end(&frames).then_some(records)
    }

    proptest! {
        #[test]
        fn frames_come_back_as_they_went_in(records in vec(record(), 1..120)) {
            let sealed = seal(&records);
            prop_assert_eq!(sealed.first_ms, records[0].0);
            prop_assert_eq!(sealed.last_ms, records[records.len() - 1].0);
            prop_assert_eq!(open(&sealed), Some(records));
        }

        #[test]
        fn a_flipped_bit_is_always_found(records in vec(record(), 1..20), place in any::<prop::sample::Index>(), bit in 0..8) {
            let mut sealed = seal(&records);
            let place = place.index(sealed.blob.len());
            sealed.blob[place] ^= 1_u8 << bit;
            prop_assert_eq!(open(&sealed), None);
        }

        #[test]
        fn bytes_that_are_no_frames_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..200), codec in 0..3_u8) {
            let sealed = Sealed { count: 9, first_ms: 0, last_ms: 0, codec, checksum: checksum(&bytes), blob: bytes };
            open(&sealed);
        }
    }

    #[test]
    fn more_header_names_than_are_numbered_come_back() {
        let records: Vec<Record> =
            (0..200).map(|n| (n, vec![], vec![], vec![(format!("h{}", n % 100), vec![])])).collect();
        assert_eq!(open(&seal(&records)), Some(records));
    }
}
