// Sessions that end: the application hears of it, with what the session held, and saves what is worth saving.
//
//     node session_expiry.cjs /tmp/tandem.sock
//
// A session is a string with a time to live that each request renews. With Redis an expired key is only a name by the
// time one hears of it; here the message carries the content, so nothing has to be stored twice.
'use strict';

const assert = require('node:assert');
const Redis = require('ioredis');

const TTL_MS = 200;

function open(r, id, session, ttlMs = TTL_MS) {
  return r.set(`session:${id}`, JSON.stringify(session), 'PX', ttlMs);
}

// A request of the session's user; false if it has ended meanwhile.
async function renew(r, id, ttlMs = TTL_MS) {
  return (await r.pexpire(`session:${id}`, ttlMs)) === 1;
}

// Calls `ended` with the id and the content of each session that ends by time. Signing off (DEL) is no such end.
async function watchSessions(subscriber, ended) {
  subscriber.on('pmessage', (_pattern, _channel, message) => {
    const event = JSON.parse(message);
    ended(event.key.slice('session:'.length), JSON.parse(event.value), event);
  });
  await subscriber.psubscribe('__expired@0__:session:*');
}

async function main() {
  const path = process.argv[2];
  // In RESP3 the message would be a map, which ioredis makes a text of; in RESP2 it is JSON.
  const [r, subscriber] = [new Redis({ path }), new Redis({ path, protocol: 2 })];
  const carts = new Map();
  const done = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no session ended within 20 s')), 20_000);
    watchSessions(subscriber, (id, session, event) => {
      console.log(`session ${id} ended ${event.fired - event.due} ms after its time: ${session.cart.length} things in the cart`);
      carts.set(id, session.cart);
      if (carts.size === 2) {
        clearTimeout(timer);
        resolve();
      }
    }).then(async () => {
      await open(r, 'a', { user: 'ada', cart: ['tea', 'milk'] });
      await open(r, 'b', { user: 'grace', cart: ['a compiler'] });
      await open(r, 'c', { user: 'alan', cart: [] }, 60_000);
      await open(r, 'd', { user: 'none', cart: [] }, 60_000);
      assert.ok(await renew(r, 'c', 3_600_000)); // still there
      await r.del('session:d'); // signed off
    }, reject);
  });
  await done;
  assert.deepEqual(carts.get('a'), ['tea', 'milk']);
  assert.deepEqual(carts.get('b'), ['a compiler']);
  assert.equal(await r.exists('session:c'), 1);
  r.disconnect();
  subscriber.disconnect();
  console.log('all done');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
