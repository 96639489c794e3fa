-- Commits and rollbacks of lots' reservations, which travel as one list (lib/format.lua).

-- What an operation's list names: calls each(lot id, which sixteen, mask, token).
local function each_listed(first, form, each)
  local list, from = ARGV[first], 1
  while from <= #list do
    local id, index, token, mask, _
    if form == COMMITS then
      id, index, token, _, mask, from = unpack_number(form, list, from)
    else
      id, index, _, mask, from = unpack_number(form, list, from)
    end
    each(id, index, mask, token)
  end
end

local function listed(form)
  return function(first, read)
    each_listed(first, form, function(id, index)
      read(id)
      read(id .. char(index))
    end)
  end
end

-- Ends what a list names: what is open in time at once, each other as one by its id would be. Returns the operation's result.
local function end_listed(first, form, state, ended, one)
  local results, n, all = {}, 0, true
  each_listed(first, form, function(id, index, mask, token)
    local lot, taken = lot_of(id), 0
    if lot and lot.expires > now and index <= lot.last then
      local quantity
      quantity, taken = entries_end_open(id, lot, index, mask, LOG_PLACES, state, token or NO_TOKEN)
      if taken > 0 then ended(lot.sku, quantity) end
    end
    for place = 1, LOG_PLACES do
      if band(mask, 2 ^ (place - 1)) ~= 0 then
        local result = 1
        if band(taken, 2 ^ (place - 1)) == 0 then
          define_records()
          result = one(lot_own_id(id, index * LOG_PLACES + place), token)
          all = all and result == 1
        end
        n = n + 1
        results[n] = result
      end
    end
  end)
  return all and 1 or results
end
