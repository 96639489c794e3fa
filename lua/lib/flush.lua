-- All writes of the call. Nothing may fail after the first of them: stock, holds, ops, protected and meta were read before;
-- of the others those that are only taken from are read here; those that are added to come first, where an entry too many
-- does no harm.
local function write(command, key, list)
  local n = #list
  for from = 1, n, 2 * PAGE do
    call(command, key, unpack(list, from, math.min(from + 2 * PAGE - 1, n)))
  end
end

local function names(set)
  local list, n = {}, 0
  for name in pairs(set) do
    n = n + 1
    list[n] = name
  end
  return list
end

-- Fails now where the key is of another type.
local function probe(key, list)
  if #list > 0 then call('ZCARD', key) end
end

local function flush_due(skus)
  for _, sku in ipairs(skus) do
    local prefix = open_prefix(sku)
    local member = call('ZRANGEBYLEX', KEY_OPEN, '[' .. prefix, '(' .. prefix .. ':', 'LIMIT', 0, 1)[1]
    if member then
      call('ZADD', KEY_DUE, sub(member, #prefix + 1, #prefix + TIME_LENGTH), sku)
    else
      call('ZREM', KEY_DUE, sku)
    end
  end
end

local function flush_protected()
  local marks, unmarks = {}, {}
  for sku in pairs(protected_changed) do
    if protected[sku] then marks[#marks + 1] = sku else unmarks[#unmarks + 1] = sku end
  end
  write('SADD', KEY_PROTECTED, marks)
  write('SREM', KEY_PROTECTED, unmarks)
  if #marks + #unmarks > 0 then call('HSET', KEY_META, 'protected_version', format('%.0f', protected_version)) end
end

local function flush()
  local open_remove, ended_remove, due_read = names(open_removed), names(ended_removed), names(due_exact)
  probe(KEY_OPEN, open_remove)
  probe(KEY_ENDED, ended_remove)
  probe(KEY_DUE, due_read)

  for sku, expires in pairs(due_earlier) do call('ZADD', KEY_DUE, 'LT', expires, sku) end
  write('ZADD', KEY_OPEN, open_add)
  write('ZADD', KEY_ENDED, ended_add)

  write('HDEL', KEY_HOLDS, forget_holds)
  write('HDEL', KEY_OPS, forget_ops)
  -- What was made and then changed by this call is written twice, the last time as it is now.
  write('HSET', KEY_HOLDS, holds_new)
  local changed, n = {}, 0
  for id in pairs(holds_changed) do
    changed[n + 1] = id
    changed[n + 2] = hold_encode(holds[id])
    n = n + 2
  end
  write('HSET', KEY_HOLDS, changed)
  for sku in pairs(stock_changed) do
    local s = stock[sku]
    call('HSET', KEY_STOCK, sku, format('%.0f %.0f %.0f', s.available, s.reserved, s.committed))
  end
  for key in pairs(ops_new) do call('HSET', KEY_OPS, key, cmsgpack.pack(ops[key])) end
  if protected then flush_protected() end

  write('ZREM', KEY_OPEN, open_remove)
  write('ZREM', KEY_ENDED, ended_remove)
  flush_due(due_read)
end
