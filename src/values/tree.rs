//! A sequence with O(log n) access by position: a B+tree that knows how many items
//! are below each child.
//!
//! The tree compares nothing. A caller that keeps the items in order asks for
//! [`Tree::partition_point`] and then inserts or removes at that position; so rank,
//! range by score and range by text are one mechanism.
//!
//! ```text
//! Inner   up to 64 children: count below, first item, node
//! Leaf    up to 128 items; its allocation follows its fill in steps of 16
//! ```
//!
//! Recursion goes as deep as the tree is high: four levels at five million items.
//!
//! A snapshot shares the lowest inner nodes, each with its leaves: a reference per 4,000 to 8,000
//! items. Who writes below one of them copies it, 200 KiB at most.

use super::packed::allocated;
use super::shareable::Shareable;
use crate::memory::Renewal;

const LEAF_MAX: usize = 128;
const INNER_MAX: usize = 64;
const STEP: usize = 16;

/// A sequence of small items.
#[derive(Clone)]
pub struct Tree<T> {
    root: Node<T>,
    len: usize,
    /// Bytes of all leaves, as allocated.
    bytes: usize,
    leaves: usize,
}

#[derive(Clone)]
enum Node<T> {
    Leaf(Vec<T>),
    Inner(Shareable<Vec<Child<T>>>),
}

#[derive(Clone)]
struct Child<T> {
    count: usize,
    first: T,
    node: Node<T>,
}

impl<T: Copy> Child<T> {
    fn new(node: Node<T>) -> Self {
        Child { count: node.count(), first: node.first(), node }
    }

    fn refresh(&mut self) {
        self.count = self.node.count();
        self.first = self.node.first();
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Node::Leaf(Vec::new())
    }
}

impl<T: Copy> Node<T> {
    fn inner(children: Vec<Child<T>>) -> Self {
        Node::Inner(Shareable::Own(children))
    }

    /// Levels above the leaves.
    fn height(&self) -> usize {
        match self {
            Node::Leaf(_) => 0,
            Node::Inner(children) => 1 + children.first().map_or(0, |c| c.node.height()),
        }
    }

    /// The same items for another owner, of a node of this height: what a node is made of is not looked at, as that
    /// would be a miss for each.
    fn share(&mut self, height: usize) -> Self {
        match self {
            Node::Leaf(items) => Node::Leaf(items.clone()),
            Node::Inner(children) if height == 1 => Node::Inner(children.share()),
            Node::Inner(children) => {
                let copy = |c: &mut Child<T>| Child {
                    count: c.count,
                    first: c.first,
                    node: c.node.share(height - 1),
                };
                Node::inner(children.make_mut().iter_mut().map(copy).collect())
            }
        }
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|c| c.count).sum(),
        }
    }

    /// Only of nodes that are not empty.
    fn first(&self) -> T {
        match self {
            Node::Leaf(items) => items[0],
            Node::Inner(children) => children[0].first,
        }
    }

    fn width(&self) -> (usize, usize) {
        match self {
            Node::Leaf(items) => (items.len(), LEAF_MAX),
            Node::Inner(children) => (children.len(), INNER_MAX),
        }
    }
}

fn leaf_bytes<T>(items: &Vec<T>) -> usize {
    allocated(items.capacity() * size_of::<T>())
}

fn fit<T>(items: &mut Vec<T>) {
    items.shrink_to(items.len().next_multiple_of(STEP));
}

impl<T: Copy> Default for Tree<T> {
    fn default() -> Self {
        Tree { root: Node::Leaf(Vec::new()), len: 0, bytes: 0, leaves: 1 }
    }
}

impl<T: Copy> Tree<T> {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory on the heap; inner nodes, about 2 %, by estimate.
    pub fn memory(&self) -> usize {
        self.bytes + if self.leaves > 1 { self.leaves * size_of::<Child<T>>() * 4 / 3 } else { 0 }
    }

    /// Number of allocations, roughly.
    pub fn allocations(&self) -> usize {
        self.leaves
    }

    /// A sequence of the same items, which shares most of its memory until one of both is
    /// changed.
    pub fn snapshot(&mut self) -> Tree<T> {
        let height = self.root.height();
        Tree { root: self.root.share(height), ..*self }
    }

    /// The number of items for which `before` holds. They stand at the front.
    pub fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        let (mut node, mut position) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return position + items.partition_point(&mut before),
                Node::Inner(children) => {
                    let at = children.partition_point(|c| before(&c.first)).saturating_sub(1);
                    position += children[..at].iter().map(|c| c.count).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// The leaf with the item at `position`, and where it stands there.
    fn leaf(&self, mut position: usize) -> (&[T], usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return (items, position),
                Node::Inner(children) => {
                    let mut at = 0;
                    while at + 1 < children.len() && position >= children[at].count {
                        position -= children[at].count;
                        at += 1;
                    }
                    node = &children[at].node;
                }
            }
        }
    }

    /// The item at `position`.
    pub fn get(&self, position: usize) -> Option<T> {
        let (leaf, at) = self.leaf(position);
        leaf.get(at).copied()
    }

    /// Inserts before the item at `position`, or at the end.
    pub fn insert(&mut self, position: usize, item: T) {
        let position = position.min(self.len);
        self.len += 1;
        if let Some(right) = insert(&mut self.root, position, item, &mut self.bytes, &mut self.leaves) {
            let left = std::mem::take(&mut self.root);
            self.root = Node::inner(vec![Child::new(left), Child::new(right)]);
        }
    }

    /// Removes the item at `position`.
    pub fn remove(&mut self, position: usize) -> Option<T> {
        if position >= self.len {
            return None;
        }
        self.len -= 1;
        let item = remove(&mut self.root, position, &mut self.bytes, &mut self.leaves);
        if let Node::Inner(children) = &mut self.root
            && children.len() == 1
            && let Some(only) = children.make_mut().pop()
        {
            self.root = only.node;
        }
        Some(item)
    }

    /// Moves leaves, and the nodes above them, from the one with the item at `position` on, as far as that is granted;
    /// where to go on.
    pub fn renew(&mut self, mut position: usize, renewal: &mut Renewal) -> Option<usize> {
        while position < self.len {
            if renewal.is_spent() {
                return Some(position);
            }
            position += renew(&mut self.root, position, renewal);
        }
        None
    }

    /// The items from `position` to the end.
    pub fn iter_from(&self, position: usize) -> impl Iterator<Item = &T> + '_ {
        let (mut leaf, mut at) = self.leaf(position);
        let mut position = position;
        std::iter::from_fn(move || {
            if at >= leaf.len() {
                if position >= self.len {
                    return None;
                }
                (leaf, at) = self.leaf(position);
            }
            let item = leaf.get(at)?;
            (at, position) = (at + 1, position + 1);
            Some(item)
        })
    }

    /// The items from `position` (inclusive) to the beginning.
    pub fn iter_rev_from(&self, position: usize) -> impl Iterator<Item = &T> + '_ {
        let (mut leaf, mut at): (&[T], usize) = (&[], 0);
        let mut left = (position + 1).min(self.len);
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            if at == 0 {
                let place = self.leaf(left - 1);
                (leaf, at) = (place.0, place.1 + 1);
            }
            (at, left) = (at - 1, left - 1);
            Some(&leaf[at])
        })
    }
}

/// Moves the leaf with the item at `position`; the number of items from there to its end. What a
/// snapshot shares stays where it is, and counts as one leaf.
fn renew<T: Copy>(node: &mut Node<T>, mut position: usize, renewal: &mut Renewal) -> usize {
    match node {
        Node::Leaf(items) => {
            renewal.vec(items);
            items.len() - position
        }
        Node::Inner(shareable) => {
            let Some(children) = shareable.own_mut() else {
                renewal.pass();
                return shareable.iter().map(|c| c.count).sum::<usize>() - position;
            };
            if position == 0 {
                renewal.vec(children);
            }
            let mut at = 0;
            while position >= children[at].count {
                position -= children[at].count;
                at += 1;
            }
            renew(&mut children[at].node, position, renewal)
        }
    }
}

fn insert<T: Copy>(
    node: &mut Node<T>,
    position: usize,
    item: T,
    bytes: &mut usize,
    leaves: &mut usize,
) -> Option<Node<T>> {
    match node {
        Node::Leaf(items) => {
            *bytes -= leaf_bytes(items);
            let right = insert_leaf(items, position, item);
            *bytes += leaf_bytes(items);
            right.map(|right| {
                *bytes += leaf_bytes(&right);
                *leaves += 1;
                Node::Leaf(right)
            })
        }
        Node::Inner(children) => {
            let children = children.make_mut();
            let (mut at, mut position) = (0, position);
            while at + 1 < children.len() && position > children[at].count {
                position -= children[at].count;
                at += 1;
            }
            let child = &mut children[at];
            let Some(right) = insert(&mut child.node, position, item, bytes, leaves) else {
                child.count += 1;
                if position == 0 {
                    child.first = item;
                }
                return None;
            };
            child.refresh();
            children.insert(at + 1, Child::new(right));
            if children.len() <= INNER_MAX {
                return None;
            }
            // Filling from one end leaves full nodes behind.
            let middle = if at + 2 == children.len() { INNER_MAX } else { INNER_MAX / 2 };
            Some(Node::inner(children.split_off(middle)))
        }
    }
}

fn insert_leaf<T: Copy>(items: &mut Vec<T>, position: usize, item: T) -> Option<Vec<T>> {
    if items.len() < LEAF_MAX {
        if items.len() == items.capacity() {
            // Few items grow exactly, more in steps.
            items.reserve_exact(if items.len() < STEP { items.len().max(4) } else { STEP });
        }
        items.insert(position, item);
        return None;
    }
    if position == LEAF_MAX {
        let mut right = Vec::with_capacity(STEP);
        right.push(item);
        return Some(right);
    }
    let mut right = items.split_off(LEAF_MAX / 2);
    if position <= items.len() {
        items.insert(position, item);
    } else {
        right.insert(position - items.len(), item);
    }
    fit(items);
    fit(&mut right);
    Some(right)
}

fn remove<T: Copy>(node: &mut Node<T>, position: usize, bytes: &mut usize, leaves: &mut usize) -> T {
    match node {
        Node::Leaf(items) => {
            *bytes -= leaf_bytes(items);
            let item = items.remove(position);
            if items.capacity() >= items.len() + 2 * STEP {
                fit(items);
            }
            *bytes += leaf_bytes(items);
            item
        }
        Node::Inner(children) => {
            let children = children.make_mut();
            let (mut at, mut position) = (0, position);
            while position >= children[at].count {
                position -= children[at].count;
                at += 1;
            }
            let child = &mut children[at];
            let item = remove(&mut child.node, position, bytes, leaves);
            let (width, max) = child.node.width();
            if width == 0 {
                if let Node::Leaf(items) = children.remove(at).node {
                    *bytes -= leaf_bytes(&items);
                    *leaves -= 1;
                }
                return item;
            }
            child.count -= 1;
            child.first = child.node.first();
            if width < max / 4 {
                join(children, at, bytes, leaves);
            }
            item
        }
    }
}

/// Joins the child `at` with a neighbour if they fit into three quarters of a node.
fn join<T: Copy>(children: &mut Vec<Child<T>>, at: usize, bytes: &mut usize, leaves: &mut usize) {
    let left = if at + 1 < children.len() { at } else { at.saturating_sub(1) };
    let Some([a, b]) = children.get(left..left + 2) else {
        return;
    };
    let ((a_width, max), (b_width, _)) = (a.node.width(), b.node.width());
    if a_width + b_width > max * 3 / 4 {
        return;
    }
    let right = children.remove(left + 1);
    match (&mut children[left].node, right.node) {
        (Node::Leaf(a), Node::Leaf(b)) => {
            *bytes -= leaf_bytes(a) + leaf_bytes(&b);
            a.reserve_exact(b.len());
            a.extend_from_slice(&b);
            *bytes += leaf_bytes(a);
            *leaves -= 1;
        }
        (Node::Inner(a), Node::Inner(b)) => a.make_mut().extend(b.into_inner()),
        _ => unreachable!("invariant: all leaves are at one depth"),
    }
    children[left].refresh();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<T: Copy + PartialEq + std::fmt::Debug>(node: &Node<T>) -> (usize, usize, usize, usize) {
        match node {
            Node::Leaf(items) => (items.len(), 0, leaf_bytes(items), 1),
            Node::Inner(children) => {
                assert!(!children.is_empty() && children.len() <= INNER_MAX);
                let mut sum = (0, None, 0, 0);
                for c in children.iter() {
                    let (count, depth, bytes, leaves) = check(&c.node);
                    assert_eq!((count, c.node.first()), (c.count, c.first));
                    assert!(count > 0 && sum.1.is_none_or(|d| d == depth));
                    sum = (sum.0 + count, Some(depth), sum.2 + bytes, sum.3 + leaves);
                }
                (sum.0, sum.1.unwrap_or(0) + 1, sum.2, sum.3)
            }
        }
    }

    fn verify(tree: &Tree<u32>, twin: &[u32]) {
        let (count, _, bytes, leaves) = check(&tree.root);
        assert_eq!((count, bytes, leaves), (tree.len, tree.bytes, tree.leaves));
        assert!(tree.iter_from(0).eq(twin.iter()));
        if let Some(last) = twin.len().checked_sub(1) {
            assert!(tree.iter_rev_from(last).eq(twin.iter().rev()));
        }
    }

    #[test]
    fn filling_in_order_leaves_full_nodes() {
        let mut tree = Tree::default();
        for i in 0..100_000u32 {
            tree.insert(tree.len(), i);
        }
        assert_eq!(tree.leaves, 100_000usize.div_ceil(LEAF_MAX));
        assert!(tree.memory() < 100_000 * 4 * 6 / 5);
        verify(&tree, &(0..100_000).collect::<Vec<_>>());
        while let Some(last) = tree.len().checked_sub(1) {
            assert_eq!(tree.remove(last / 2), Some(tree_expected(&tree, last)));
            if last == 5000 || last < 3 {
                let (count, _, bytes, leaves) = check(&tree.root);
                assert_eq!((count, bytes, leaves), (tree.len, tree.bytes, tree.leaves));
            }
        }
        assert_eq!(tree.remove(0), None);
    }

    /// Removing the middle of 0..n again and again takes m, m-1, m+1, … in turn.
    fn tree_expected(_: &Tree<u32>, last: usize) -> u32 {
        let removed = 99_999 - last as u32;
        if removed.is_multiple_of(2) { 49_999 - removed / 2 } else { 50_000 + removed / 2 }
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let mut tree = Tree::default();
        let mut twin: Vec<u32> = (0..30_000).collect();
        twin.iter().for_each(|&i| tree.insert(tree.len(), i));
        let mut snapshot = tree.snapshot();
        let before = twin.clone();
        for i in 0..3000usize {
            let at = i * 7919 % twin.len();
            assert_eq!(tree.remove(at), Some(twin.remove(at)));
            let at = i * 104_729 % twin.len();
            tree.insert(at, i as u32);
            twin.insert(at, i as u32);
        }
        verify(&tree, &twin);
        verify(&snapshot, &before);
        while snapshot.remove(snapshot.len() / 2).is_some() {}
        assert!(snapshot.is_empty());
        verify(&tree, &twin);
        verify(&tree.snapshot().snapshot(), &twin);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn behaves_as_a_vector(ops in prop::collection::vec((0u8..6, any::<usize>(), 1usize..200), 0..120)) {
            let mut tree = Tree::default();
            let mut twin: Vec<u32> = Vec::new();
            for (op, at, n) in ops {
                for i in 0..n {
                    let at = at.wrapping_add(i * 7919);
                    if op < 4 {
                        let at = if op == 0 { twin.len() } else { at % (twin.len() + 1) };
                        tree.insert(at, i as u32);
                        twin.insert(at, i as u32);
                    } else if !twin.is_empty() {
                        let at = if op == 4 { 0 } else { at % twin.len() };
                        prop_assert_eq!(tree.remove(at), Some(twin.remove(at)));
                    }
                }
            }
            verify(&tree, &twin);
            for at in (0..twin.len()).step_by(37) {
                prop_assert_eq!(tree.get(at), Some(twin[at]));
                prop_assert!(tree.iter_from(at).eq(twin[at..].iter()));
            }
            twin.sort_unstable();
            let mut sorted = Tree::default();
            for &i in &twin {
                let at = sorted.partition_point(|&x| x < i);
                sorted.insert(at, i);
            }
            verify(&sorted, &twin);
            prop_assert_eq!(sorted.partition_point(|&x| x < 50), twin.partition_point(|&x| x < 50));
        }
    }
}
