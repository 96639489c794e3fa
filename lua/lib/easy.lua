-- The easy way: a first sending of nothing but reservations, commits and rollbacks of lots, in which nothing is overdue, unknown
-- or ended before. A sale consists of them. To define all that the other cases need costs the upstream more than to execute
-- these, so they are decided here, in one piece, as ops/*.lua would; where one of them is not easy nothing was written yet,
-- and the call goes the long way.
local NO_TOKEN, LOT_HEAD, byte = '-----------', 18, string.byte

local function easy()
  local n, at, asked, asked_n = #ARGV, FIRST_OPERATION, { batch }, 1
  while at <= n do
    asked_n = asked_n + 1
    asked[asked_n] = ARGV[at + 1]
    at = at + (ARGV[at] == 'r' and 6 or 3)
  end
  local found = call('HMGET', KEY_LOTS, unpack(asked))
  if found[1] then return nil end

  -- The SKUs, and the heads of the lots.
  local skus, skus_n, stock, heads, opens, skus_of = {}, 0, {}, {}, {}, {}
  at = FIRST_OPERATION
  for i = 2, asked_n do
    local sku
    if ARGV[at] == 'r' then
      if found[i] or ARGV[at + 4] + remember_ms <= now then return nil end
      sku = ARGV[at + 2]
      at = at + 6
    else
      local bytes, id = found[i], ARGV[at + 1]
      if not bytes or heads[id] then return nil end
      local expires, entries, open, length, from = unpack_number('>I6I2I2I2', bytes, 7)
      if expires <= now then return nil end
      sku = sub(bytes, from, from + length - 1)
      heads[id], opens[i], skus_of[i] = true, open, sku
      at = at + 3
    end
    if stock[sku] == nil then
      stock[sku] = false
      skus_n = skus_n + 1
      skus[skus_n] = sku
    end
  end
  local texts = call('HMGET', KEY_STOCK, unpack(skus))
  for i = 1, skus_n do
    if not texts[i] then return nil end
    stock[skus[i]] = { unpack_number(STOCK, texts[i]) }
  end

  local results, results_n, made, made_n, added, added_n = {}, 0, {}, 0, {}, 0
  local removed, removed_n, ended, ended_n, dues = {}, 0, {}, 0, nil
  local now_packed, quantities
  at = FIRST_OPERATION
  for i = 2, asked_n do
    local id, letter, result = ARGV[at + 1], ARGV[at], 1
    if letter == 'r' then
      local sku, runs, expires = ARGV[at + 2], ARGV[at + 5], now + ARGV[at + 3]
      local s = stock[sku]
      local available, parts, parts_n, open, refused_n = s[1], {}, 2, 0, 0
      local all, accepted, retry = 0, 0, nil
      for from = 1, #runs, 6 do
        local count, quantity = unpack_number('>I2I4', runs, from)
        local fit = count
        if quantity == 0 then return nil end
        if available < count * quantity then
          -- Something may be overdue, or the soonest expiry may be changed by this call.
          if s[4] ~= 0 and s[4] <= now or removed_n > 0 then return nil end
          fit = math.floor(available / quantity)
          if fit < 0 then fit = 0 end
          if not retry then
            retry = -1
            if s[4] ~= 0 then
              local prefix = #sku .. ':' .. sku .. ':'
              local soonest = call('ZRANGEBYLEX', KEY_OPEN, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
              if soonest then retry = unpack_number('>I6', soonest, #prefix + 1) - now end
              if retry < -1 then return nil end
            end
          end
        end
        local text = sub(runs, from + 2, from + 5) .. '\0\0\0\0\0\0' .. NO_TOKEN
        if fit > 0 then
          parts_n = parts_n + 1
          parts[parts_n] = string.rep('o' .. text, fit)
          available = available - fit * quantity
          s[1], s[2], open, accepted = available, s[2] + fit * quantity, open + fit, accepted + fit
        end
        if fit < count then
          parts_n = parts_n + 1
          parts[parts_n] = string.rep('-' .. text, count - fit)
          if result == 1 then result = {} end
          local wait = retry
          -- Of this call's own.
          local own = dues and dues[sku]
          if open > 0 and (not own or expires < own) then own = expires end
          if own and (wait < 0 or own - now < wait) then wait = own - now end
          if accepted == 0 and refused_n > 0 and result[refused_n - 1] == available and result[refused_n] == wait then
            result[refused_n - 2] = result[refused_n - 2] + count - fit
          else
            result[refused_n + 1], result[refused_n + 2] = accepted, count - fit
            result[refused_n + 3], result[refused_n + 4] = available, wait
            refused_n, accepted = refused_n + 4, 0
          end
        end
        all = all + count
      end
      if open > 0 then
        parts[1], parts[2] = pack_number('>I6I6I2I2I2', now, expires, all, open, #sku), sku
        made[made_n + 1], made[made_n + 2] = id, table.concat(parts)
        made_n = made_n + 2
        added[added_n + 1] = '0'
        added[added_n + 2] = #sku .. ':' .. sku .. ':' .. pack_number('>I6', expires) .. 'l' .. id
        added_n = added_n + 2
        dues = dues or {}
        if not dues[sku] or expires < dues[sku] then dues[sku] = expires end
      end
      at = at + 6
    else
      local bytes, list, sku = found[i], ARGV[at + 2], skus_of[i]
      local s, state, stride = stock[sku], letter == 'c' and 'c' or 'r', letter == 'c' and 13 or 2
      local base = LOT_HEAD + #sku - 21
      local entries = (#bytes - base - 21) / 22
      if not now_packed then now_packed, quantities = pack_number('>I6', now), {} end
      -- The number of open ones, at 15, is another; all else in front of the entries is as it was.
      local parts, parts_n, last, from, sum, count = { sub(bytes, 1, 14), '' }, 2, 0, 17, 0, 0
      for item = 1, #list, stride do
        local high, low = byte(list, item, item + 1)
        local place = high * 256 + low
        local entry = base + place * 22
        if place <= last or place > entries or byte(bytes, entry) ~= 111 then return nil end
        if entry > from then
          parts_n = parts_n + 1
          parts[parts_n] = sub(bytes, from, entry - 1)
        end
        local text = sub(bytes, entry + 1, entry + 4)
        local known = quantities[text]
        if not known then
          known = { unpack_number('>I4', text), text .. now_packed }
          quantities[text] = known
        end
        sum, count = sum + known[1], count + 1
        parts[parts_n + 1] = state
        parts[parts_n + 2] = known[2]
        parts[parts_n + 3] = stride == 13 and sub(list, item + 2, item + 12) or NO_TOKEN
        parts_n, last, from = parts_n + 3, place, entry + 22
      end
      s[2] = s[2] - sum
      if state == 'c' then s[3] = s[3] + sum else s[1] = s[1] + sum end
      local open = opens[i] - count
      parts[2] = pack_number('>I2', open)
      parts[parts_n + 1] = sub(bytes, from)
      made[made_n + 1], made[made_n + 2] = id, table.concat(parts)
      made_n = made_n + 2
      if open == 0 then
        removed_n = removed_n + 1
        removed[removed_n] = #sku .. ':' .. sku .. ':' .. sub(bytes, 7, 12) .. 'l' .. id
        ended[ended_n + 1], ended[ended_n + 2] = format('%.0f', now + remember_ms), 'l' .. id
        ended_n = ended_n + 2
      end
      at = at + 3
    end
    results_n = results_n + 1
    results[results_n] = result
  end

  -- Nothing may fail after the first write: see lib/flush.lua.
  if removed_n > 0 and added_n == 0 then call('ZCARD', KEY_OPEN) end
  if dues then
    for sku, expires in pairs(dues) do
      local s = stock[sku]
      if s[4] == 0 or expires < s[4] then
        call('ZADD', KEY_DUE, 'LT', format('%.0f', expires), sku)
        s[4] = expires
      end
    end
  end
  if added_n > 0 then call('ZADD', KEY_OPEN, unpack(added)) end
  if ended_n > 0 then call('ZADD', KEY_ENDED, unpack(ended)) end
  if removed_n > 0 then call('ZREM', KEY_OPEN, unpack(removed)) end
  if made_n > 0 then
    call('HSET', KEY_LOTS, unpack(made))
    for i = 1, skus_n do
      local s = stock[skus[i]]
      skus[skus_n + i] = pack_number(STOCK, s[1], s[2], s[3], s[4])
    end
    local list = {}
    for i = 1, skus_n do list[2 * i - 1], list[2 * i] = skus[i], skus[skus_n + i] end
    call('HSET', KEY_STOCK, unpack(list))
  end
  return { now, 0, results }
end

-- The same where it is but one lot of one quantity, and there is enough.
local function easiest()
  local id, sku, runs = ARGV[8], ARGV[9], ARGV[12]
  local record = call('HGET', KEY_STOCK, sku)
  if not record or ARGV[11] + remember_ms <= now or call('HEXISTS', KEY_LOTS, batch) == 1 then return nil end
  local count, quantity = unpack_number('>I2I4', runs)
  local available, reserved, committed, due = unpack_number(STOCK, record)
  local taken, expires = count * quantity, now + ARGV[10]
  if quantity == 0 or available < taken then return nil end
  if due == 0 or expires < due then
    due = expires
    call('ZADD', KEY_DUE, 'LT', due, sku)
  end
  local packed = pack_number('>I6', expires)
  call('ZADD', KEY_OPEN, 0, #sku .. ':' .. sku .. ':' .. packed .. 'l' .. id)
  local entry = 'o' .. sub(runs, 3, 6) .. '\0\0\0\0\0\0' .. NO_TOKEN
  if count > 1 then entry = string.rep(entry, count) end
  call('HSET', KEY_LOTS, id, pack_number('>I6', now) .. packed .. pack_number('>I2I2I2', count, count, #sku) .. sku .. entry)
  call('HSET', KEY_STOCK, sku, pack_number(STOCK, available - taken, reserved + taken, committed, due))
  return { now, 0, { 1 } }
end

if letters == '' and ARGV[5] == '1' then
  local result
  if #ARGV == 12 and ARGV[7] == 'r' and #ARGV[12] == 6 then result = easiest() end
  if not result and #ARGV <= 3000 then result = easy() end
  if result then return result end
end
