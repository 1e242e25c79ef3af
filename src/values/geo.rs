//! Places on the earth as scores of a sorted set.
//!
//! A score is a geohash of 52 bits: longitude and latitude are each cut into 2^26 steps of
//! equal angle, and the bits of the two numbers take turns, the longitude's first. A prefix of
//! 2·n bits is a cell of the grid with 2^n columns and rows, and the places in a cell are one
//! range of scores. A search looks through the cell of its centre and its neighbours, in a grid
//! coarse enough that these nine hold the whole shape.
//!
//! ```text
//! bit 51 50 49 48 … 1 0
//!     lo la lo la … lo la     longitude -180…180, latitude -85.05112878…85.05112878
//! ```
//!
//! Results must not differ from those of Redis in the last digit, so the order of the
//! floating-point operations is part of the interface here.

use std::ops::Range;

/// Steps of each coordinate: 2^26.
const STEPS: u32 = 26;
const LONGITUDES: (f64, f64) = (-180.0, 180.0);
/// Where the Mercator projection of the web ends.
const LATITUDES: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// The mean radius that Redis uses.
const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the circumference on the map.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
const RADIANS: f64 = std::f64::consts::PI / 180.0;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

/// What a search looks into, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Everything within this distance of the centre.
    Circle(f64),
    /// Everything in a box around the centre, of this width and height.
    Box(f64, f64),
}

/// A cell of a grid with 2^`steps` columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

/// Spreads the bits of a number over the even positions.
fn spread(n: u32) -> u64 {
    let mut x = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        x = (x | x << shift) & mask;
    }
    x
}

/// Takes the bits at the even positions together.
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        x = (x | x >> shift) & mask;
    }
    x as u32
}

impl Cell {
    fn of(place: Place, steps: u32, latitudes: (f64, f64)) -> Cell {
        let step = |x: f64, (min, max): (f64, f64)| {
            let part = (x - min) / (max - min);
            (part * (1u64 << steps) as f64) as u32
        };
        let bits = spread(step(place.latitude, latitudes)) | spread(step(place.longitude, LONGITUDES)) << 1;
        Cell { bits, steps }
    }

    /// The degrees that the cell covers: longitudes, latitudes.
    fn area(self) -> ((f64, f64), (f64, f64)) {
        let side = |index: u32, (min, max): (f64, f64)| {
            let edge = |i: f64| min + (i / (1u64 << self.steps) as f64) * (max - min);
            (edge(f64::from(index)), edge(f64::from(index) + 1.0))
        };
        (side(gather(self.bits >> 1), LONGITUDES), side(gather(self.bits), LATITUDES))
    }

    /// The cell so many columns east and rows north, around the edges of the map. A place on
    /// the upper edge is one step beyond the grid; its neighbours are on the grid again.
    fn moved(self, east: i32, north: i32) -> Cell {
        let mask = (1u64 << self.steps) as u32 - 1;
        let turn = |index: u32, by: i32| index.wrapping_add_signed(by) & mask;
        let (column, row) = (gather(self.bits >> 1), gather(self.bits));
        let bits = spread(turn(row, north)) | spread(turn(column, east)) << 1;
        Cell { bits, steps: self.steps }
    }

    /// The scores of the places in the cell.
    fn scores(self) -> Range<f64> {
        let shift = 2 * (STEPS - self.steps);
        (self.bits << shift) as f64..((self.bits + 1) << shift) as f64
    }
}

impl Place {
    /// A place, unless it is not on the map.
    pub fn new(longitude: f64, latitude: f64) -> Option<Place> {
        let on = |x: f64, (min, max): (f64, f64)| (min..=max).contains(&x);
        (on(longitude, LONGITUDES) && on(latitude, LATITUDES)).then_some(Place { longitude, latitude })
    }

    /// The score under which a place is kept.
    pub fn score(self) -> f64 {
        Cell::of(self, STEPS, LATITUDES).bits as f64
    }

    /// The place that a score means: the middle of its cell.
    pub fn of_score(score: f64) -> Place {
        let ((west, east), (south, north)) = Cell { bits: score as i64 as u64, steps: STEPS }.area();
        let middle = |a: f64, b: f64, (min, max): (f64, f64)| ((a + b) / 2.0).clamp(min, max);
        Place { longitude: middle(west, east, LONGITUDES), latitude: middle(south, north, LATITUDES) }
    }

    /// The geohash as everybody else writes it: eleven letters, over all latitudes. There are
    /// two bits too few for the last letter, which is always `0`, as in Redis.
    pub fn text(self) -> [u8; 11] {
        let bits = Cell::of(self, STEPS, (-90.0, 90.0)).bits;
        std::array::from_fn(|i| match i {
            10 => ALPHABET[0],
            _ => ALPHABET[(bits >> (52 - 5 * (i + 1)) & 31) as usize],
        })
    }

    /// Metres between two places on a sphere, by the haversine formula.
    pub fn distance(self, other: Place) -> f64 {
        let half_angle = (other.longitude * RADIANS - self.longitude * RADIANS) / 2.0;
        let v = half_angle.sin();
        if v == 0.0 {
            return latitude_distance(self.latitude, other.latitude);
        }
        let (from, to) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS_M * (b * RADIANS - a * RADIANS).abs()
}

impl Shape {
    /// The distance of a place from the centre, if it lies in the shape.
    pub fn distance(&self, centre: Place, place: Place) -> Option<f64> {
        match *self {
            Shape::Circle(radius) => Some(centre.distance(place)).filter(|d| *d <= radius),
            Shape::Box(width, height) => {
                if latitude_distance(place.latitude, centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Place { latitude: place.latitude, ..centre };
                if place.distance(beside) > width / 2.0 {
                    return None;
                }
                Some(centre.distance(place))
            }
        }
    }

    /// The radius of a circle around the shape.
    fn radius(&self) -> f64 {
        match *self {
            Shape::Circle(radius) => radius,
            Shape::Box(width, height) => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        }
    }

    /// Degrees that the shape spans: longitudes, latitudes.
    fn bounds(&self, centre: Place) -> ((f64, f64), (f64, f64)) {
        let (half_width, half_height) = match *self {
            Shape::Circle(radius) => (radius, radius),
            Shape::Box(width, height) => (width / 2.0, height / 2.0),
        };
        let up = half_height / EARTH_RADIUS_M / RADIANS;
        // A degree of longitude is shortest on the side that is nearer to a pole.
        let pole = if centre.latitude < 0.0 { centre.latitude - up } else { centre.latitude + up };
        let aside = half_width / EARTH_RADIUS_M / (pole * RADIANS).cos() / RADIANS;
        ((centre.longitude - aside, centre.longitude + aside), (centre.latitude - up, centre.latitude + up))
    }

    /// The ranges of scores in which places of the shape can be, the centre's first.
    pub fn ranges(&self, centre: Place) -> Vec<Range<f64>> {
        let ((west, east), (south, north)) = self.bounds(centre);
        let mut cell = Cell::of(centre, steps_for(self.radius(), centre.latitude), LATITUDES);
        // The estimate is for a centre in the middle of its cell.
        let short = cell.moved(0, 1).area().1.1 < north
            || cell.moved(0, -1).area().1.0 > south
            || cell.moved(1, 0).area().0.1 < east
            || cell.moved(-1, 0).area().0.0 > west;
        if short && cell.steps > 1 {
            cell = Cell::of(centre, cell.steps - 1, LATITUDES);
        }
        let (columns, rows) = cell.area();
        // Neighbours on a side that the shape does not reach are left out; in a grid of two
        // columns and rows there are no sides.
        let wanted = |east_by: i32, north_by: i32| {
            let reaches = |by: i32, (low, high): (f64, f64), (min, max): (f64, f64)| match by {
                1 => high <= max,
                -1 => low >= min,
                _ => true,
            };
            cell.steps < 2
                || reaches(east_by, columns, (west, east)) && reaches(north_by, rows, (south, north))
        };
        let mut cells = vec![cell];
        for (east_by, north_by) in [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)] {
            let next = cell.moved(east_by, north_by);
            if wanted(east_by, north_by) && !cells.contains(&next) {
                cells.push(next);
            }
        }
        cells.into_iter().map(Cell::scores).collect()
    }
}

/// The finest grid in which a circle of this radius spans at most a cell and its neighbours.
fn steps_for(radius_m: f64, latitude: f64) -> u32 {
    if radius_m == 0.0 {
        return STEPS;
    }
    let (mut reach, mut steps) = (radius_m, 1i32);
    while reach < MERCATOR_MAX_M {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Towards the poles a degree of longitude is shorter.
    if latitude.abs() > 66.0 {
        steps -= 1;
    }
    if latitude.abs() > 80.0 {
        steps -= 1;
    }
    steps.clamp(1, STEPS as i32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(longitude: f64, latitude: f64) -> Place {
        Place::new(longitude, latitude).expect("on the map")
    }

    #[test]
    fn scores_texts_and_distances_are_those_of_redis() {
        let (palermo, catania) = (place(13.361389, 38.115556), place(15.087269, 37.502669));
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        assert_eq!(catania.score(), 3_479_447_370_796_909.0);
        let (palermo, catania) = (Place::of_score(palermo.score()), Place::of_score(catania.score()));
        assert_eq!(format!("{:.17}", palermo.longitude), "13.36138933897018433");
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
        assert_eq!(&palermo.text(), b"sqc8b49rny0");
        assert_eq!(&catania.text(), b"sqdtr74hyu0");
    }

    #[test]
    fn what_is_off_the_map_is_refused() {
        for (longitude, latitude) in
            [(180.1, 0.0), (-181.0, 0.0), (0.0, 85.06), (0.0, -86.0), (f64::NAN, 0.0)]
        {
            assert_eq!(Place::new(longitude, latitude), None);
        }
        place(180.0, 85.051_128_78);
        place(-180.0, -85.051_128_78);
    }

    #[test]
    fn scores_that_are_no_geohash_mean_a_place_on_the_map() {
        for score in [-1.0, -1e300, 1e300, f64::INFINITY, f64::NEG_INFINITY, 0.5] {
            let Place { longitude, latitude } = Place::of_score(score);
            assert!(Place::new(longitude, latitude).is_some(), "{score}");
        }
    }

    #[test]
    fn a_search_from_an_edge_of_the_map_finds_what_is_there() {
        let near = place(179.9, 85.0);
        for centre in [place(180.0, 85.051_128_78), place(-180.0, 85.0), place(180.0, 85.0)] {
            for radius in [20_000.0, 1e6, 1e300] {
                let ranges = Shape::Circle(radius).ranges(centre);
                assert!(ranges.iter().any(|r| r.contains(&centre.score())), "{centre:?} {radius}");
                assert!(ranges.iter().any(|r| r.contains(&near.score())), "{centre:?} {radius}");
            }
        }
    }

    proptest! {
        #[test]
        fn bits_are_spread_and_gathered(n: u32) {
            prop_assert_eq!(gather(spread(n)), n);
            prop_assert_eq!(spread(n) & spread(n) << 1, 0);
        }

        #[test]
        fn a_score_keeps_the_place(longitude in -180f64..179.99, latitude in -85f64..85.0) {
            let it = place(longitude, latitude);
            let back = Place::of_score(it.score());
            prop_assert!((back.longitude - longitude).abs() < 3e-6 && (back.latitude - latitude).abs() < 2e-6);
            prop_assert!(it.distance(back) < 1.0);
        }

        /// A search must not miss what is in its shape (the ranges are a superset).
        #[test]
        fn ranges_cover_the_shape(
            longitude in -179f64..179.0, latitude in -70f64..70.0,
            radius in 1f64..1_000_000.0, angle in 0f64..6.3, part in 0f64..1.0,
        ) {
            let centre = place(longitude, latitude);
            let metres = radius * part;
            let north = angle.sin() * metres / EARTH_RADIUS_M / RADIANS;
            let east = angle.cos() * metres / EARTH_RADIUS_M / (latitude * RADIANS).cos() / RADIANS;
            let Some(near) = Place::new(longitude + east, latitude + north) else { return Ok(()) };
            for shape in [Shape::Circle(radius), Shape::Box(2.0 * radius, radius)] {
                if shape.distance(centre, near).is_some() {
                    let score = near.score();
                    prop_assert!(shape.ranges(centre).iter().any(|r| r.contains(&score)), "{shape:?} {near:?}");
                }
            }
        }
    }
}
