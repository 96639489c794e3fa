-- All writes of the call. Nothing may fail after the first of them: stock, holds, ops, protected and meta were read before;
-- of the others those that are only taken from are read here; those that are added to come first, where an entry too many
-- does no harm.
local function write_pairs(command, key, list)
  for from = 1, #list, 2 * PAGE do
    redis.call(command, key, unpack(list, from, math.min(from + 2 * PAGE - 1, #list)))
  end
end

local function write_names(command, key, list)
  for from = 1, #list, PAGE do
    redis.call(command, key, unpack(list, from, math.min(from + PAGE - 1, #list)))
  end
end

local function pair(list, first, second)
  local n = #list
  list[n + 1], list[n + 2] = first, second
end

local function flush_due()
  for sku in pairs(due_exact) do
    local prefix = open_prefix(sku)
    local member = redis.call('ZRANGEBYLEX', KEY_OPEN, '[' .. prefix, '(' .. prefix .. ':', 'LIMIT', 0, 1)[1]
    if member then
      redis.call('ZADD', KEY_DUE, string.sub(member, #prefix + 1, #prefix + TIME_LENGTH), sku)
    else
      redis.call('ZREM', KEY_DUE, sku)
    end
  end
end

-- Fails now where the key is of another type.
local function probe(key, needed)
  if needed then redis.call('ZCARD', key) end
end

local function flush()
  local due, open_add, open_remove, ended_add, ended_remove = {}, {}, {}, {}, {}
  for sku, expires in pairs(due_earlier) do pair(due, string.format('%.0f', expires), sku) end
  for member, there in pairs(open_change) do
    if there then pair(open_add, '0', member) else open_remove[#open_remove + 1] = member end
  end
  for member, score in pairs(ended_change) do
    if score then pair(ended_add, string.format('%.0f', score), member) else ended_remove[#ended_remove + 1] = member end
  end
  probe(KEY_OPEN, #open_remove > 0)
  probe(KEY_ENDED, #ended_remove > 0)
  probe(KEY_DUE, next(due_exact))

  for from = 1, #due, 2 * PAGE do
    redis.call('ZADD', KEY_DUE, 'LT', unpack(due, from, math.min(from + 2 * PAGE - 1, #due)))
  end
  write_pairs('ZADD', KEY_OPEN, open_add)
  write_pairs('ZADD', KEY_ENDED, ended_add)

  write_names('HDEL', KEY_HOLDS, forget_holds)
  write_names('HDEL', KEY_OPS, forget_ops)
  local changed = {}
  for id in pairs(holds_changed) do pair(changed, id, hold_encode(holds[id])) end
  write_pairs('HSET', KEY_HOLDS, changed)
  changed = {}
  for sku in pairs(stock_changed) do pair(changed, sku, stock_encode(stock[sku])) end
  write_pairs('HSET', KEY_STOCK, changed)
  changed = {}
  for key in pairs(ops_new) do pair(changed, key, cmsgpack.pack(ops[key])) end
  write_pairs('HSET', KEY_OPS, changed)

  local marks, unmarks = {}, {}
  for sku in pairs(protected_changed) do
    if protected[sku] then marks[#marks + 1] = sku else unmarks[#unmarks + 1] = sku end
  end
  write_names('SADD', KEY_PROTECTED, marks)
  write_names('SREM', KEY_PROTECTED, unmarks)
  if #marks + #unmarks > 0 then redis.call('HSET', KEY_META, 'protected_version', string.format('%.0f', protected_version)) end

  write_names('ZREM', KEY_OPEN, open_remove)
  write_names('ZREM', KEY_ENDED, ended_remove)
  flush_due()
end
