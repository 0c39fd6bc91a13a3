-- Takes entries out of the group and the stream, as the transaction does. A server without memory
-- refuses to queue anything for a transaction, and would never get any back.
-- KEYS: messages. ARGV: group, entries.
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
