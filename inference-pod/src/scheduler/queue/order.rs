//! A heap of small numbers by a key that may change: the first one is at hand, a change takes logarithmic time, and nothing
//! is allocated but to grow.

/// Numbers, each with a key; the smallest key is first.
pub(super) struct Order<K> {
    heap: Vec<(K, u32)>,
    /// Where in the heap a number is.
    places: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl<K> Default for Order<K> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl<K: Copy + Ord> Order<K> {
    pub(super) fn first(&self) -> Option<(K, u32)> {
        self.heap.first().copied()
    }

    /// Adds a number, or changes its key.
    pub(super) fn set(&mut self, number: u32, key: K) {
        if self.places.len() <= number as usize {
            self.places.resize(number as usize + 1, NOWHERE);
        }
        let place = match self.places[number as usize] {
            NOWHERE => {
                self.heap.push((key, number));
                self.heap.len() - 1
            }
            place => {
                self.heap[place as usize].0 = key;
                place as usize
            }
        };
        let place = self.rise(place);
        self.sink(place);
    }

    /// Takes a number out, if it is there.
    pub(super) fn remove(&mut self, number: u32) {
        let Some(place) = self.places.get_mut(number as usize) else {
            return;
        };
        let place = std::mem::replace(place, NOWHERE);
        if place == NOWHERE {
            return;
        }
        let place = place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            let place = self.rise(place);
            self.sink(place);
        }
    }

    fn rise(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= entry.0 {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
        place
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let left = 2 * place + 1;
            let Some(mut smaller) = self.heap.get(left).map(|_| left) else {
                break;
            };
            if self
                .heap
                .get(left + 1)
                .is_some_and(|right| right.0 < self.heap[left].0)
            {
                smaller = left + 1;
            }
            if entry.0 <= self.heap[smaller].0 {
                break;
            }
            self.put(place, self.heap[smaller]);
            place = smaller;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (K, u32)) {
        self.places[entry.1 as usize] = place as u32;
        self.heap[place] = entry;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_always_the_smallest(changes in prop::collection::vec((0_u32..20, prop::option::of(0_u8..50)), 0..200)) {
            let mut order = Order::default();
            let mut model = BTreeMap::new();
            for (number, key) in changes {
                match key {
                    // Keys are told apart, as those of lanes are.
                    Some(key) => {
                        order.set(number, (key, number));
                        model.insert(number, (key, number));
                    }
                    None => {
                        order.remove(number);
                        model.remove(&number);
                    }
                }
                let first = model.values().min().map(|key| (*key, key.1));
                prop_assert_eq!(order.first(), first);
                prop_assert_eq!(order.heap.len(), model.len());
            }
        }
    }
}
